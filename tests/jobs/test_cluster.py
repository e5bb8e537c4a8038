"""A real cluster, started as a user would: two nodes, one of which is killed in the middle.

Both nodes are on this machine, each in a session of its own, and only what they started is ended.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from dsc.jobs.driver import compress
from dsc.storage.verify import verify_archive
from tests.jobs.faults import REPOSITORY, descendants, finished, kill, tree, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SAMPLES, SHARD = 64, 4
OPTIONS = ["--sample", str(SAMPLES), "--tasks", "rgb,depth", "--codec", "png"]
SIZES = ["--shard-size", str(SHARD), "--pack", "2"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def node(*options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a Ray node with one slot; kill it, and all that it started, at the end."""
    ray = Path(sys.executable).with_name("ray")
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    environment.pop("RAY_ADDRESS", None)
    process = subprocess.Popen(
        [ray, "start", *options, "--num-cpus=1", f"--object-store-memory={100 << 20}", "--block"],
        cwd=REPOSITORY,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    below = descendants(process.pid)
    kill([process.pid, *below])
    process.wait()


@contextmanager
def cluster() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Give the address of a cluster of two nodes, and the second one."""
    # sockets lie in there, and their paths are limited to 107 bytes
    scratch = tempfile.mkdtemp(prefix="dsc-ray-", dir="/tmp")
    address = f"127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        stack.enter_context(
            node(
                "--head",
                "--node-ip-address=127.0.0.1",
                f"--port={port}",
                "--include-dashboard=false",
                f"--temp-dir={scratch}",
            )
        )
        wait_for(lambda: is_open(int(port)))
        second = stack.enter_context(node(f"--address={address}", "--node-ip-address=127.0.0.1"))
        yield address, second


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def cpus(address: str) -> int:
    code = f"import ray; ray.init(address={address!r}, log_to_driver=False); \
print('CPUS', int(ray.cluster_resources().get('CPU', 0)))"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    found = [line.split()[1] for line in ran.stdout.splitlines() if line.startswith("CPUS")]
    return int(found[0]) if found else 0


def test_a_cluster_that_loses_a_node_finishes_the_archive_byte_for_byte(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with cluster() as (address, second):
        wait_for(lambda: cpus(address) == 2, timeout_s=90)
        command = [sys.executable, "-m", "dsc", "compress", "taskonomy", *OPTIONS, *SIZES]
        job = subprocess.Popen(
            [*command, "--out", str(out), "--address", address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            wait_for(lambda: len(finished(out)) >= 3 or job.poll() is not None, timeout_s=120)
            assert job.poll() is None, job.communicate()
            lost_at = len(finished(out))
            end(second)
            said, complaints = job.communicate(timeout=240)
        finally:
            kill([job.pid])
    assert job.returncode == 0, (said, complaints)
    assert lost_at < SAMPLES // SHARD
    assert verify_archive(out) == []
    compress(
        "taskonomy",
        tmp_path / "reference",
        sample=SAMPLES,
        tasks="rgb,depth",
        codec="png",
        shard_size=SHARD,
        pack=2,
    )
    assert tree(out) == tree(tmp_path / "reference")


def test_an_address_where_no_ray_answers_is_refused_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dsc", "compress", "taskonomy", *OPTIONS]
    ran = subprocess.run(
        [*command, "--out", str(tmp_path / "out"), "--address", f"127.0.0.1:{free_port()}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 2
    assert "ray start --head" in ran.stderr
