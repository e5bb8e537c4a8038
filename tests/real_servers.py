"""Real servers on loopback, started and stopped by the tests: nginx, and S3 by moto."""

import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CONFIG = """
daemon off;
master_process off;
pid {work}/pid;
error_log {work}/error.log;
events {{ worker_connections 256; }}
http {{
    log_format counted '$request_method $uri $status $body_bytes_sent';
    access_log {work}/access.log counted;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {root};
    }}
}}
"""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def nginx(directory: Path, work: Path) -> Iterator[tuple[str, Path]]:
    """Serve a directory with nginx; gives (url, access log). Skips where there is no nginx."""
    binary = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if binary is None:
        pytest.skip("no nginx on this machine (Debian: apt install nginx-light)")
    work.mkdir(parents=True)
    for _ in range(5):  # somebody else may take the free port first
        port = _free_port()
        config = work / "nginx.conf"
        config.write_text(CONFIG.format(work=work, port=port, root=directory))
        server = subprocess.Popen(
            [binary, "-c", str(config), "-p", str(work), "-e", str(work / "error.log")]
        )
        try:
            deadline = time.monotonic() + 20
            while server.poll() is None and not _answers(port) and time.monotonic() < deadline:
                time.sleep(0.02)
            if server.poll() is None:
                yield f"http://127.0.0.1:{port}", work / "access.log"
                return
        finally:
            server.terminate()
            server.wait(20)
    pytest.fail(f"nginx does not start: {(work / 'error.log').read_text()}")


@contextmanager
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start an S3 server, told to every client by the environment; gives a bucket's URL."""
    reason = "no S3 server or client: pip install 's3fs' 'moto[server]'"
    moto = pytest.importorskip("moto.server", reason=reason)
    pytest.importorskip("s3fs", reason=reason)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    try:
        import s3fs

        bucket = f"archives-{uuid.uuid4().hex}"  # moto keeps its buckets from server to server
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir(bucket)
        yield f"s3://{bucket}"
    finally:
        server.stop()
