import hashlib
import socket
import ssl

import pytest

from csc_models import ModelError
from csc_models.errors import DownloadError
from csc_models.pretrained.download import Download

DATA = bytes(range(256)) * 4096  # a megabyte, so that pieces of it are read


@pytest.fixture
def target(tmp_path):
    return tmp_path / "weights.pth"


@pytest.fixture
def download(server, target):
    """Download the file of the server, without pauses between attempts."""
    server.files["/setup04/1"] = DATA

    def run(**more):
        Download(**{"url": f"{server.address}/setup04/1", "target": target, "pause_s": 0.0, **more}).run()

    return run


class TestWhole:
    def test_file_arrives_with_progress_and_leaves_nothing_else(self, download, target):
        seen = []
        download(progress=lambda done, total: seen.append((done, total)))
        assert target.read_bytes() == DATA
        assert seen[-1] == (len(DATA), len(DATA))
        assert list(target.parent.iterdir()) == [target]

    def test_size_and_checksum_are_compared(self, download, target):
        download(size=len(DATA), sha256=hashlib.sha256(DATA).hexdigest())
        assert target.read_bytes() == DATA

    @pytest.mark.parametrize("wrong", [{"size": 7}, {"sha256": "0" * 64}])
    def test_wrong_file_is_not_kept(self, download, target, wrong):
        with pytest.raises(DownloadError, match="instead of"):
            download(**wrong)
        assert not list(target.parent.iterdir())

    def test_checksum_of_the_server_is_compared(self, download, server, target):
        server.troubles = [{"etag": f'"{hashlib.md5(b"other").hexdigest()}"'}]
        with pytest.raises(DownloadError, match="md5"):
            download()
        assert not list(target.parent.iterdir())


class TestCutConnections:
    def test_goes_on_where_it_was_cut(self, download, server, target):
        server.troubles = [{"cut": 300_000}, {"cut": 0}, {"cut": 500_000}]
        download()
        assert target.read_bytes() == DATA
        begins = [request.get("Range") for request in server.requests]
        assert begins == [None, "bytes=300000-", "bytes=300000-", "bytes=800000-"]

    def test_goes_on_after_resets(self, download, server, target):
        """A reset may throw away what was sent before it."""
        server.troubles = [{"cut": 300_000, "reset": True}, {"cut": 0, "reset": True}, {"cut": 500_000, "reset": True}]
        download()
        assert target.read_bytes() == DATA
        assert len(server.requests) == 4

    def test_next_run_goes_on(self, download, server, target):
        server.troubles = [{"cut": 300_000}, {"cut": 0}]
        with pytest.raises(DownloadError, match=r"cut after 300,000 of 1,048,576 bytes \(300,000 bytes are kept"):
            download(attempts=1)
        assert not target.exists()
        download()
        assert target.read_bytes() == DATA
        assert server.requests[-1]["Range"] == "bytes=300000-"

    def test_other_file_on_the_server_starts_anew(self, download, server, target):
        server.troubles = [{"cut": 300_000}]
        with pytest.raises(DownloadError):
            download(attempts=1)
        server.files["/setup04/1"] = DATA[::-1]
        download()
        assert target.read_bytes() == DATA[::-1]

    def test_shorter_file_on_the_server_starts_anew(self, download, server, target):
        server.troubles = [{"cut": 300_000}]
        with pytest.raises(DownloadError):
            download(attempts=1)
        server.files["/setup04/1"] = b"short"
        download()
        assert target.read_bytes() == b"short"

    def test_server_without_ranges_starts_anew(self, download, server, target):
        server.ranges = False
        server.troubles = [{"cut": 300_000}]
        download()
        assert target.read_bytes() == DATA

    def test_killed_after_the_last_byte(self, download, server, target):
        """Everything is there but the name: the server has nothing to add."""
        server.troubles = [{"cut": 300_000}]
        with pytest.raises(DownloadError):
            download(attempts=1)
        target.with_name("weights.pth.part").write_bytes(DATA)
        download()
        assert target.read_bytes() == DATA

    def test_damage_while_it_lay_there_is_noticed(self, download, server, target):
        server.troubles = [{"cut": 300_000}]
        with pytest.raises(DownloadError):
            download(attempts=1)
        target.with_name("weights.pth.part").write_bytes(bytes(300_000))
        with pytest.raises(DownloadError, match="md5"):
            download()
        download()
        assert target.read_bytes() == DATA

    def test_gives_up_where_nothing_comes(self, download, server):
        server.troubles = [{"cut": 0}] * 3
        with pytest.raises(DownloadError, match="cut after 0 of"):
            download(attempts=3)
        assert len(server.requests) == 3


class TestAnswers:
    def test_busy_server_is_asked_again(self, download, server, target):
        server.troubles = [{"status": 503}, {"status": 500}]
        download()
        assert target.read_bytes() == DATA

    def test_missing_file_is_not(self, download, server, target):
        with pytest.raises(DownloadError, match="404") as caught:
            download(url=f"{server.address}/setup04/2")
        assert len(server.requests) == 1
        for fact in (f"{server.address}/setup04/2", str(target), "put it at"):
            assert fact in str(caught.value)
        assert isinstance(caught.value, ModelError)
        assert isinstance(caught.value, OSError)

    def test_nobody_listens(self, download, target):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # taken, and deaf
            address = f"http://127.0.0.1:{unused.getsockname()[1]}/setup04/1"
            with pytest.raises(DownloadError, match=f"{address}.*without a connection.*weights.pth"):
                download(url=address, attempts=2)

    def test_unknown_host_is_said_at_once(self, download, monkeypatch):
        def find_nobody(*_arguments, **_options):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(socket, "getaddrinfo", find_nobody)
        with pytest.raises(DownloadError, match=r"no-such-host\.invalid/w: its host is not found"):
            download(url="https://no-such-host.invalid/w", pause_s=60.0)


class TestEncryption:
    def test_other_addresses_are_refused(self, download):
        for address in ("http://example.org/setup04/1", "ftp://example.org/setup04/1", "file:///etc/hostname"):
            with pytest.raises(DownloadError, match="not an https address"):
                download(url=address)

    def test_certificates_are_verified(self, serve, download, target, tmp_path_factory, monkeypatch):
        trustme = pytest.importorskip("trustme")
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        secure = serve(context)
        secure.files["/w"] = DATA
        with pytest.raises(DownloadError, match="certificate cannot be verified"):
            download(url=f"{secure.address}/w", pause_s=60.0)
        assert not target.exists()
        certificate = tmp_path_factory.mktemp("authority") / "ca.pem"
        authority.cert_pem.write_to_path(str(certificate))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        download(url=f"{secure.address}/w")
        assert target.read_bytes() == DATA

    def test_redirect_to_an_open_address_is_refused(self, serve, server, download, tmp_path_factory, monkeypatch):
        trustme = pytest.importorskip("trustme")
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        secure = serve(context)
        certificate = tmp_path_factory.mktemp("authority") / "ca.pem"
        authority.cert_pem.write_to_path(str(certificate))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        secure.troubles = [{"status": 302, "headers": {"Location": f"{server.address}/setup04/1"}}]
        with pytest.raises(DownloadError, match="not encrypted"):
            download(url=f"{secure.address}/w")
        assert server.requests == []
