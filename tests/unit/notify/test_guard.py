"""Where notifications may go: the public internet, and what was named; by the address that was checked."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rollwave.notify.guard import Guard
from rollwave.notify.poster import Poster
from rollwave.ports.notifier import ChannelError
from rollwave.system import SystemClock


def names(monkeypatch, *addresses):
    """Let every name stand for these addresses."""

    def found(_host, port, *_args, **_kwargs):
        kinds = [(socket.AF_INET6 if ":" in one else socket.AF_INET, one) for one in addresses]
        return [(kind, socket.SOCK_STREAM, 6, "", (one, port)) for kind, one in kinds]

    monkeypatch.setattr(socket, "getaddrinfo", found)


def ask(guard, host="hooks.test"):
    return asyncio.run(guard.address_of(host, 443))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.8",
        "172.16.3.4",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "fe80::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
    ],
)
def test_what_is_inside_is_refused_unless_it_was_named(monkeypatch, address):
    names(monkeypatch, address)
    with pytest.raises(ChannelError, match=r"\[notify\] allow"):
        ask(Guard())
    assert ask(Guard([address])) == address
    assert ask(Guard(["HOOKS.test"])) == address
    with pytest.raises(ChannelError):
        ask(Guard(["other.test", "203.0.113.0/24"]))


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_what_is_public_is_let_through(monkeypatch, address):
    names(monkeypatch, address)
    assert ask(Guard()) == address


def test_of_several_addresses_one_that_is_allowed_is_taken(monkeypatch):
    names(monkeypatch, "10.0.0.1", "93.184.215.14")
    assert ask(Guard()) == "93.184.215.14"


def test_a_name_that_nobody_knows_is_told(monkeypatch):
    def unknown(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ChannelError, match="cannot be found"):
        ask(Guard())


@pytest.mark.parametrize("entry", ["10.0.0.0/99", "10.0.0.1/8", ""])
def test_an_entry_that_is_neither_network_nor_host_is_refused(entry):
    with pytest.raises(ValueError, match="neither a network nor a host"):
        Guard([entry])


def test_plain_http_goes_only_to_what_was_named(monkeypatch):
    names(monkeypatch, "93.184.215.14")
    with pytest.raises(ChannelError, match="use https"):
        asyncio.run(Poster(Guard()).post("http://hooks.test/", b"", {}))


@pytest.fixture
def https_server(tmp_path):
    """A server on 127.0.0.1 that calls itself hooks.test; its port, and who trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.test")])
    now = SystemClock().now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            redirect = self.path == "/elsewhere"
            self.send_response(302 if redirect else 200)
            if redirect:
                self.send_header("Location", "http://169.254.169.254/")
            said = self.headers["Host"].encode()
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port, ssl.create_default_context(cafile=str(pem))
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_certificate_is_that_of_the_name_and_a_redirect_is_no_way_around(monkeypatch, https_server):
    """The connection goes to the address that was checked; the name is asked for by SNI, and has to be proven."""
    port, trusts = https_server
    names(monkeypatch, "127.0.0.1")
    poster = Poster(Guard(["127.0.0.1"]), verify=trusts)
    answer = asyncio.run(poster.post(f"https://hooks.test:{port}/", b"{}", {}))
    assert (answer.status, answer.body) == (200, f"hooks.test:{port}".encode())
    with pytest.raises(ChannelError, match="no connection"):
        asyncio.run(poster.post(f"https://other.test:{port}/", b"{}", {}))
    with pytest.raises(ChannelError, match="status 302"):
        asyncio.run(poster.post(f"https://hooks.test:{port}/elsewhere", b"{}", {}))
