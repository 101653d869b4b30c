"""Progress: plain lines by a fake clock, a bar on a fake terminal."""

import io
import threading

import pytest

from bams3.progress import LINE_EVERY_S, Progress


class Clock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


class Terminal(io.StringIO):
    def isatty(self):
        return True


def make(total, **options):
    clock, stream = Clock(), io.StringIO()
    return Progress(total, "reads", "convert", stream=stream, clock=clock, **options), clock, stream


def test_short_work_writes_nothing():
    progress, clock, stream = make(1000)
    with progress:
        clock.now_s += LINE_EVERY_S - 0.1
        progress.advance(1000)
    assert stream.getvalue() == ""


def test_a_line_every_ten_seconds_tells_share_rate_and_time_left():
    progress, clock, stream = make(6_000_000)
    with progress:
        for _ in range(4):
            clock.now_s += 5
            progress.advance(1_000_000)
        assert stream.getvalue().splitlines() == [
            "convert: 2,000,000 of 6,000,000 reads (33%), 200,000 reads/s, 20s left",
            "convert: 4,000,000 of 6,000,000 reads (67%), 200,000 reads/s, 10s left",
        ]


def test_long_work_ends_with_its_whole():
    progress, clock, stream = make(30)
    with progress:
        clock.now_s += 10
        progress.advance(10)
        clock.now_s += 5
        progress.advance(20)
    assert stream.getvalue().splitlines()[-1] == "convert: 30 of 30 reads (100%), 2 reads/s"


def test_failed_work_does_not_claim_to_have_ended():
    progress, clock, stream = make(30)

    def fail():
        with progress:
            clock.now_s += 10
            progress.advance(10)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert len(stream.getvalue().splitlines()) == 1


def test_without_a_total_there_is_no_share_and_no_time_left():
    progress, clock, stream = make(None)
    with progress:
        clock.now_s += 20
        progress.advance(40)
        assert stream.getvalue() == "convert: 40 reads, 2 reads/s\n"


@pytest.mark.parametrize(("seconds", "text"), [(59, "59s"), (200, "3m20s"), (7500, "2h05m")])
def test_time_left_is_short_to_read(seconds, text):
    progress, clock, stream = make(10 + seconds)
    with progress:
        clock.now_s += 10
        progress.advance(10)
        assert stream.getvalue().endswith(f", {text} left\n")


def test_nothing_is_shown_when_it_is_turned_off():
    progress, clock, stream = make(30, enabled=False)
    with progress:
        clock.now_s += 100
        progress.advance(30)
    assert stream.getvalue() == ""
    assert progress.done == 30


def test_a_terminal_gets_a_bar():
    terminal = Terminal()
    with Progress(2000, "reads", "convert", stream=terminal) as progress:
        progress.advance(1000)
        progress.advance(1000)
    assert "convert: 100%" in terminal.getvalue()
    assert "reads/s" in terminal.getvalue()


def test_threads_lose_no_count():
    progress, _, _ = make(None)
    with progress:
        threads = [
            threading.Thread(target=lambda: [progress.advance(1) for _ in range(5000)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert progress.done == 20_000
