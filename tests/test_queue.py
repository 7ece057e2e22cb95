"""The line for all visitors: its end, and what those who wait are told."""

import threading
import time

import gradio as gr
import pytest

from mrsampler.ui import session
from mrsampler.ui.page import build
from mrsampler.ui.queue import Queue, duration


def test_whoever_comes_to_a_full_line_is_told_so_and_leaves_it_as_it_was():
    line = Queue(limit=2)
    with line.turn() as first, line.turn(), line.turn() as last:
        assert first.arrive(0)
        sentence = r"The line is full \(2 waiting\): try again in a minute\."
        with pytest.raises(gr.Error, match=sentence), line.turn():
            pass
        assert last.ahead == 2
    with line.turn() as turn:
        assert turn.arrive(0)


def test_one_in_the_middle_of_several_turns_is_let_in_again():
    line = Queue(limit=1)
    with line.turn(), line.turn(), line.turn(again=True) as turn:
        assert turn.ahead == 2


def test_none_wait_where_none_may():
    line = Queue(limit=0)
    with line.turn(), pytest.raises(gr.Error, match="0 waiting"), line.turn():
        pass


def test_the_page_sets_the_limit(monkeypatch):
    monkeypatch.setattr(session, "QUEUE", Queue())
    build(3)
    assert session.QUEUE.limit == 3


def test_the_estimate_is_what_those_ahead_expect_to_take():
    line = Queue()
    with line.turn(4.0) as first, line.turn(30.0), line.turn(2.0) as last:
        assert first.arrive(0)
        assert last.seconds == pytest.approx(34, abs=0.5)
        assert last.says == "Waiting: 2 visitors are ahead of you, about 34 s."


def test_short_turns_that_say_so_do_not_shorten_the_others():
    line = Queue()
    for _ in range(20):
        with line.turn(0.0) as turn:
            assert turn.arrive(0)
    with line.turn() as turn, line.turn() as last:
        assert not last.arrive(0) and last.seconds == 10
        assert turn.seconds == 0


def test_a_turn_that_overruns_is_never_about_to_end(monkeypatch):
    line, now = Queue(), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with line.turn(8.0) as first, line.turn(1.0) as last:
        assert first.arrive(0)
        told = []
        for gone in (0, 4, 8, 80):
            now[0] = 100.0 + gone
            told.append(last.seconds)
        assert told == [8, 4, 2, 20]


def test_nobody_ahead_is_no_wait_and_anybody_is_some():
    line = Queue()
    with line.turn(0.01) as first, line.turn(1.0) as last:
        assert first.arrive(0)
        assert first.seconds == 0 and last.seconds == 1
        assert last.says == "Waiting: 1 visitor is ahead of you, about 1 s."
        assert first.says == "Waiting: you are next."


def test_turns_are_one_at_a_time():
    line, inside, most = Queue(), [], []

    def visit():
        with line.turn() as turn:
            while not turn.arrive(0.01):
                pass
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.005)
            inside.pop()

    threads = [threading.Thread(target=visit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.0, "1 s"), (12.4, "12 s"), (89.0, "89 s"), (150.0, "2 min")]
)
def test_a_duration_is_in_words(seconds, words):
    assert duration(seconds) == words
