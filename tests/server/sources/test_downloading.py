"""Files over HTTP, in parts: resumed, retried, interrupted."""

import contextlib
import hashlib
import os
import threading

import pytest

from aiadmin_core.errors import NotAllowed, PullFailed
from aiadmin_server.sources.downloading import Part, cut, download, partial_of
from aiadmin_server.sources.fetching import Fetcher, is_loopback, shown_url

from .site import Page, Stopped, running_site, stop_at

DATA = b"".join(hashlib.sha256(bytes([i % 256, i // 256])).digest() for i in range(60_000))


@pytest.fixture
def site():
    with running_site() as site:
        site.pages["/file"] = Page(DATA, headers={"ETag": '"1"'})
        yield site


@pytest.fixture
def fetch(site, tmp_path):
    """Download /file in parts of 256 KB."""

    def run(report=lambda _: None, size=len(DATA), version="1", **how):
        fetcher = Fetcher()

        @contextlib.contextmanager
        def open_range(start, end):
            headers = {} if end is None else {"Range": f"bytes={start}-{end - 1}"}
            with fetcher.open("GET", f"{site.url}/file", headers) as response:
                yield response

        target = tmp_path / "file"
        how = {"part_bytes": 256 << 10, "backoff_s": 0.01} | how
        download(open_range, target, size=size, version=version, report=report, **how)
        return target.read_bytes()

    return run


def test_parts_come_side_by_side(site, fetch, tmp_path):
    seen = []
    assert fetch(seen.append) == DATA
    assert sorted(site.starts) == list(range(0, len(DATA), 256 << 10))
    assert seen[-1] == len(DATA)
    assert seen == sorted(seen)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_who_is_stopped_goes_on_with_the_rest(site, fetch, tmp_path):
    site.pause_s = 0.005
    with pytest.raises(Stopped):
        fetch(stop_at(len(DATA) // 2 + 1))
    assert partial_of(tmp_path / "file").exists()
    assert not (tmp_path / "file").exists()
    n_before = len(site.asked)
    seen = []
    assert fetch(seen.append) == DATA
    assert seen[0] > len(DATA) // 3
    assert len(site.asked) - n_before < n_before + 4


def test_a_line_that_breaks_is_taken_up_again(site, fetch):
    site.cut_after = 100_000
    assert fetch() == DATA


def test_a_line_that_stays_dead_is_given_up_and_said(site, fetch):
    site.cut_after = 0
    with pytest.raises(PullFailed, match=r"The transfer with 127\.0\.0\.1:\d+ broke off"):
        fetch()


def test_what_was_kept_of_another_version_is_worth_nothing(site, fetch):
    site.pause_s = 0.005
    with pytest.raises(Stopped):
        fetch(stop_at(1), version="old")
    site.pause_s = 0.0
    assert fetch(version="new") == DATA


@pytest.mark.parametrize("damage", ["cut", "text", "gone"])
def test_notes_that_do_not_fit_the_file_are_thrown_away(site, fetch, tmp_path, damage):
    site.pause_s = 0.005
    with pytest.raises(Stopped):
        fetch(stop_at(len(DATA) // 2 + 1))
    site.pause_s = 0.0
    partial, notes = partial_of(tmp_path / "file"), tmp_path / "file.parts"
    if damage == "cut":
        os.truncate(partial, 10)
    elif damage == "text":
        notes.write_text("{")
    else:
        partial.unlink()
    assert fetch() == DATA


def test_a_server_without_ranges_sends_everything(site, fetch):
    site.ranges = False
    assert fetch() == DATA


def test_less_than_was_said_is_no_file(site, fetch, tmp_path):
    site.ranges = False
    site.pages["/file"] = Page(DATA[:100])
    with pytest.raises(PullFailed, match=f"100 bytes came instead of {len(DATA)}"):
        fetch()
    assert not (tmp_path / "file").exists()


def test_of_unknown_size_it_comes_as_it_comes(site, fetch):
    assert fetch(size=0, version="") == DATA


def test_no_thread_is_left_behind(site, fetch):
    before = threading.active_count()
    fetch()
    assert not any(thread.name == "aiadmin-download" for thread in threading.enumerate())
    assert threading.active_count() <= before + 2, "the server's own"


def test_parts_are_of_one_size_and_not_too_many():
    assert cut(10, 4) == [Part(0, 4), Part(4, 8), Part(8, 10)]
    assert len(cut(10**12, 64 << 20)) <= 256
    assert sum(part.missing for part in cut(10**12 + 1, 64 << 20)) == 10**12 + 1


def test_redirects_are_followed_without_telling_others_who_asks(site):
    with running_site() as other:
        other.pages["/there"] = Page(b"found")
        site.pages["/moved"] = Page(status=307, headers={"Location": f"{other.url}/there"})
        with Fetcher().open("GET", f"{site.url}/moved", {"Authorization": "Bearer secret"}) as response:
            assert response.read() == b"found"
        assert site.asked[-1].headers["authorization"] == "Bearer secret"
        assert "authorization" not in other.asked[-1].headers


def test_redirects_have_an_end(site):
    site.pages["/round"] = Page(status=302, headers={"Location": "/round"})
    with pytest.raises(PullFailed, match="redirects more than 10 times"):
        Fetcher().open("GET", f"{site.url}/round").__enter__()
    assert len(site.asked) == 11


def test_plain_http_is_for_this_machine():
    fetcher = Fetcher()
    with pytest.raises(NotAllowed, match=r"files\.example would be spoken to over plain http"):
        fetcher.check("http://files.example/x")
    fetcher.check("http://localhost:1/x")
    Fetcher(insecure=True).check("http://files.example/x")
    with pytest.raises(PullFailed, match="is no http or https address"):
        fetcher.check("ftp://files.example/x")


def test_who_may_not_reach_this_machine_does_not(site):
    with pytest.raises(Exception, match="not public"):
        Fetcher(public_only=True).open("GET", f"{site.url}/file").__enter__()
    assert site.asked == []


def test_loopback_is_told_by_the_name_alone():
    for url in ("http://localhost", "http://127.0.0.9:1", "http://[::1]:5000/x", "http://a.localhost"):
        assert is_loopback(url)
    for url in ("http://localhost.example", "http://10.0.0.1", "http://127.0.0.1.example"):
        assert not is_loopback(url)


def test_what_may_be_secret_is_not_shown():
    assert shown_url("https://me:secret@host/file.gguf?token=secret#x") == "https://host/file.gguf"
