"""A real cluster, started as a user would: two nodes, one of which is killed in the middle.

Both nodes are on this machine, each in a session of its own, and only what they started is ended.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dsc._jobs.archive.compress import compress
from dsc._storage.read.verify import verify_archive
from tests.jobs.faults import ROOT, descendants, finished, kill, tree, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SAMPLES, SIZE, SHARD = 64, 96, 4
OPTIONS = ["--views", str(SAMPLES), "--size", str(SIZE), "--tasks", "rgb,depth", "--codec", "png"]
OPTIONS += ["--shard-size", str(SHARD), "--pack", "2"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(token: str) -> dict[str, str]:
    """Return the environment of one cluster's members, which know each other by a token."""
    ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "RAY_USAGE_STATS_ENABLED": "0"}
    return {**os.environ, **ours, "OMP_NUM_THREADS": "1", "RAY_ADDRESS": ""}


@contextmanager
def node(token: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a Ray node with one slot; kill it, and all that it started, at the end."""
    ray = Path(sys.executable).with_name("ray")
    process = subprocess.Popen(
        [ray, "start", *options, "--num-cpus=1", f"--object-store-memory={100 << 20}", "--block"],
        cwd=ROOT,
        env=environment(token),
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


@dataclass(frozen=True)
class Cluster:
    """Two nodes that know each other."""

    address: str
    environment: dict[str, str]
    second: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head node and a second one that has joined it."""
    # sockets lie in there, and their paths are limited to 107 bytes
    scratch = tempfile.mkdtemp(prefix="dsc-ray-", dir="/tmp")
    port, token = free_port(), secrets.token_hex(32)
    address = f"127.0.0.1:{port}"
    head = [f"--port={port}", "--include-dashboard=false", f"--temp-dir={scratch}"]
    here = "--node-ip-address=127.0.0.1"
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        stack.enter_context(node(token, "--head", here, *head))
        wait_for(lambda: is_open(port))
        second = stack.enter_context(node(token, f"--address={address}", here))
        made = Cluster(address, environment(token), second)
        wait_for(lambda: cpus(made) == 2, timeout_s=90)
        yield made


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def cpus(cluster: Cluster) -> int:
    """Count the cluster's CPUs, as a driver sees them."""
    code = (
        f"import ray; ray.init(address={cluster.address!r}, log_to_driver=False); "
        "print('CPUS', int(ray.cluster_resources().get('CPU', 0)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=cluster.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    found = [line.split()[1] for line in ran.stdout.splitlines() if line.startswith("CPUS")]
    return int(found[0]) if found else 0


def is_busy(node: subprocess.Popen[bytes]) -> bool:
    """Tell whether a worker of this node is making a shard."""
    for pid in descendants(node.pid):
        try:
            if b"encode_on_worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return True
        except OSError:
            continue
    return False


def compress_on(cluster: Cluster, out: Path) -> subprocess.Popen[str]:
    """Start ``dsc compress --address``."""
    command = [sys.executable, "-m", "dsc", "compress", "taskonomy", *OPTIONS]
    return subprocess.Popen(
        [*command, "--out", str(out), "--address", cluster.address],
        cwd=ROOT,
        env=cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_cluster_that_loses_a_node_finishes_the_archive_byte_for_byte(
    cluster: Cluster, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    job = compress_on(cluster, out)
    try:
        wait_for(
            lambda: (len(finished(out)) >= 3 and is_busy(cluster.second)) or job.poll() is not None,
            timeout_s=120,
        )
        assert job.poll() is None, job.communicate()
        end(cluster.second)
        assert len(finished(out)) < SAMPLES // SHARD
        said, complaints = job.communicate(timeout=240)
    finally:
        kill([job.pid])
    assert job.returncode == 0, (said, complaints)
    assert verify_archive(out) == []
    given = {"size": SIZE, "tasks": "rgb,depth", "codec": "png", "shard_size": SHARD, "pack": 2}
    compress("taskonomy", tmp_path / "reference", sample=SAMPLES, **given)  # type: ignore[arg-type]
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
