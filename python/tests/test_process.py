"""Memory, threads, signals and other processes."""

import multiprocessing
import os
import pickle
import signal
import threading
import time
import tracemalloc

import numpy as np
import pytest

import dia
from conftest import GAIN, same

OPTIONS = {"gain": GAIN, "backend": "cpu"}


def peak(*images):
    """Most bytes that Python and NumPy take while images are subtracted."""
    tracemalloc.start()
    try:
        dia.subtract(*images, **OPTIONS)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_single_precision_is_read_where_it_is_and_results_are_handed_over(pair):
    dia.subtract(pair.reference, pair.target, **OPTIONS)
    # NumPy tells tracemalloc of every array that it makes: neither images nor planes are among them.
    assert peak(pair.reference, pair.target) < pair.target.nbytes / 2
    swapped = pair.target.astype(">f4")
    assert peak(pair.reference, swapped) > pair.target.nbytes


def test_results_are_pickled(pair):
    result = dia.subtract(pair.reference, pair.target, **OPTIONS)
    back = pickle.loads(pickle.dumps(result))
    assert same(back, result)
    assert back.report == result.report and back.photometric_scale == result.photometric_scale
    error = pickle.loads(pickle.dumps(dia.DiaError("why")))
    assert isinstance(error, dia.DiaError) and str(error) == "why"


def subtracted(queue, pair):
    queue.put(dia.subtract(pair.reference, pair.target, **OPTIONS))


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_that_was_forked_subtracts_too(pair):
    result = dia.subtract(pair.reference, pair.target, **OPTIONS)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=subtracted, args=(queue, pair), daemon=True)
    child.start()
    assert same(queue.get(timeout=60), result)
    child.join()


def test_other_threads_run_meanwhile(pair):
    ticks, done = [], threading.Event()

    def tick():
        while not done.wait(0.001):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.monotonic()
    dia.subtract(pair.reference, pair.target, **OPTIONS)
    seconds = time.monotonic() - start
    done.set()
    thread.join()
    # A thousand a second, had it the machine to itself; one or two, if the interpreter were locked.
    assert len([tick for tick in ticks if tick > start]) > 50 * seconds


def test_threads_subtract_at_once(pair):
    expected = dia.subtract(pair.reference, pair.target, **OPTIONS)
    results = []
    subtract = lambda: results.append(dia.subtract(pair.reference, pair.target, **OPTIONS))
    threads = [threading.Thread(target=subtract) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3 and all(same(result, expected) for result in results)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_ends_a_fit(pair):
    # Takes many times as long as the key needs.
    reference, target = (np.tile(pixels, (3, 3)) for pixels in (pair.reference, pair.target))
    pressed = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    # Where the tests run in the background of a shell, the signal is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        pressed.start()
        with pytest.raises(KeyboardInterrupt):
            dia.subtract(reference, target, align="none", **OPTIONS)
        pressed.join()
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_progress_raises_ends_the_fit(pair):
    passes = []

    def progress(number, optimality):
        passes.append((number, optimality))
        raise ArithmeticError("enough")

    with pytest.raises(ArithmeticError, match="enough"):
        dia.subtract(pair.reference, pair.target, progress=progress, **OPTIONS)
    assert len(passes) == 1 and passes[0][1] > 0
    # The next one goes to the end.
    passes.clear()
    dia.subtract(
        pair.reference, pair.target, progress=lambda *told: passes.append(told), **OPTIONS
    )
    assert len(passes) >= 1


def test_a_bar_of_tqdm(pair, capsys):
    pytest.importorskip("tqdm")
    dia.subtract(pair.reference, pair.target, progress=True, **OPTIONS)
    assert "σ from the minimum" in capsys.readouterr().err
