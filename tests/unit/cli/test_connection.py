"""Where the API is, and which token it gets."""

from __future__ import annotations

import pytest

from rollwave.cli.connection import Wanted, find_connection
from rollwave.cli.errors import NoEndpointError, UnreadableFileError, UsageError


@pytest.fixture
def data(tmp_path):
    """A data directory as a running server leaves it."""
    (tmp_path / "endpoint").write_text("http://127.0.0.1:8080\n")
    (tmp_path / "token").write_text("local\n")
    return tmp_path


def test_a_server_on_this_machine_is_found_by_itself(data):
    """Endpoint and token lie in the data directory."""
    found = find_connection(Wanted(data_dir=data), {})

    assert (found.endpoint, found.token) == ("http://127.0.0.1:8080", "local")


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:8080/", "http://localhost:8080"])
def test_another_spelling_of_the_same_server_gets_its_token(data, endpoint):
    """The origin counts, not the characters."""
    assert find_connection(Wanted(data_dir=data, endpoint=endpoint), {}).token == "local"


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:8081", "https://127.0.0.1:8080", "http://example.org:8080", "http://127.0.0.1"]
)
def test_the_local_token_never_leaves_for_another_server(data, endpoint):
    """Whoever names an endpoint elsewhere has to name a token for it as well."""
    assert find_connection(Wanted(data_dir=data, endpoint=endpoint), {}).token is None


def test_options_win_over_the_environment_and_that_over_the_data_directory(data, tmp_path):
    """The closest word counts."""
    (tmp_path / "mine").write_text("mine\n")
    environment = {"ROLLWAVE_ENDPOINT": "http://a", "ROLLWAVE_TOKEN": "theirs", "ROLLWAVE_DATA": str(data)}

    from_environment = find_connection(Wanted(), environment)
    from_options = find_connection(Wanted(endpoint="http://b", token_file=tmp_path / "mine"), environment)

    assert (from_environment.endpoint, from_environment.token) == ("http://a", "theirs")
    assert (from_options.endpoint, from_options.token) == ("http://b", "mine")


def test_nothing_found_says_where_it_was_looked_for(tmp_path):
    """The message names the file, the hint how to start a server."""
    with pytest.raises(NoEndpointError, match=str(tmp_path)) as caught:
        find_connection(Wanted(data_dir=tmp_path), {})

    assert "rollwave serve" in caught.value.hint


@pytest.mark.parametrize("endpoint", ["example.org:80", "ftp://x", "http://", "http://a:b", "http://[::1"])
def test_what_is_no_url_is_refused(endpoint):
    """It is a mistake on the command line, not a server that is down."""
    with pytest.raises(UsageError, match="not a URL"):
        find_connection(Wanted(endpoint=endpoint), {})


def test_a_token_file_that_was_named_has_to_be_there(data):
    """A typing mistake in its name is not an anonymous request."""
    with pytest.raises(UnreadableFileError, match="nowhere"):
        find_connection(Wanted(data_dir=data, token_file=data / "nowhere"), {})
