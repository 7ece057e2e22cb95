"""Where the page's networks run, each in a process of its own: the threads are for all of it."""

import subprocess
import sys
import textwrap

import pytest


def said(program):
    """What a Python program prints, line by line."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


SETUP = """
    import threading, torch
    from mrsampler.ui import hardware
    hardware.spaces = None
    torch.set_num_threads(3)

    @hardware.gpu
    def steps(count):
        try:
            for i in range(count):
                if i == 3:
                    raise ValueError("no more")
                yield threading.current_thread().name, torch.get_num_threads()
        finally:
            print("closed-in", threading.current_thread().name)
"""


def test_all_steps_are_made_in_one_thread_that_has_the_cores_and_others_have_one():
    program = (
        SETUP
        + """
    hardware.share_cores()
    other = []
    ask = threading.Thread(target=lambda: other.append((torch.get_num_threads(), list(steps(2)))))
    ask.start()
    ask.join()
    print(*other[0][1][0], *other[0][1][1], other[0][0], torch.get_num_threads())
    """
    )
    assert said(program) == ["closed-in", "network_0", *2 * ["network_0", "3"], "1", "1"]


def test_closing_and_errors_go_through():
    program = (
        SETUP
        + """
    running = steps(9)
    next(running)
    running.close()
    try:
        list(steps(9))
    except ValueError as error:
        print(error)
    print(len(list(steps(1))), "step after it")
    """
    )
    closed = ["closed-in", "network_0"]
    assert said(program) == [*closed, *closed, "no", "more", *closed, "1", "step", "after", "it"]


@pytest.mark.parametrize("ahead", [False, True])
def test_the_next_step_is_made_when_it_is_asked_for_or_while_the_last_is_looked_at(ahead):
    program = f"""
    import threading
    from mrsampler.ui import hardware
    hardware.spaces = None
    made, second = [], threading.Event()

    def steps():
        try:
            for i in range(5):
                made.append(i)
                if i == 1:
                    second.set()
                yield i
        finally:
            print("closed")

    steps = hardware.gpu(steps, ahead={ahead})
    print(*steps())
    made.clear(), second.clear()
    running = steps()
    print(next(running), second.wait(10 if {ahead} else 0.5), *made)
    running.close()
    """
    looked_at = ["0", "True", "0", "1"] if ahead else ["0", "False", "0"]
    assert said(program) == ["closed", *"01234", *looked_at, "closed"]


def test_an_error_goes_through_and_closing_waits_for_nothing_where_a_step_is_made_ahead():
    program = """
    import threading, time
    from mrsampler.ui import hardware
    hardware.spaces = None
    go, closed = threading.Event(), threading.Event()

    def steps(bad):
        try:
            yield 0
            if bad:
                raise ValueError("no more")
            go.wait(20)
            yield 1
            yield 2
        finally:
            closed.set()

    ahead = hardware.gpu(steps, ahead=True)
    running = ahead(True)
    print(next(running))
    try:
        next(running)
    except ValueError as error:
        print(error, closed.is_set())
    closed.clear()
    running = ahead(False)
    next(running)
    running.close()
    print("closed", closed.is_set())
    go.set()
    print(closed.wait(10), *ahead(False))
    """
    expected = ["0", "no", "more", "True", "closed", "False", "True", "0", "1", "2"]
    assert said(program) == expected


def test_the_page_gives_the_cores_away_before_anything_is_built():
    program = """
    import torch
    from mrsampler.ui import hardware
    from mrsampler.ui import page
    torch.set_num_threads(3)
    def build(max_queue):
        print(torch.get_num_threads(), hardware._NETWORK.submit(torch.get_num_threads).result())
        raise SystemExit
    page.build = build
    page.launch()
    """
    assert said(program) == ["1", "3"]


@pytest.mark.parametrize("package", [None, "spaces"])
def test_zerogpu_has_its_own_process_and_says_so(package):
    program = f"""
    import types
    from mrsampler.ui import hardware
    hardware.spaces = {package and "types.SimpleNamespace(GPU=lambda duration: lambda f: 'lent')"}
    print(hardware.gpu(len) == 'lent', hardware.crosses_processes())
    """
    assert said(program) == [str(package is not None)] * 2
