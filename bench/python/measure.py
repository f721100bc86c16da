"""What the Python side of every benchmark shares; the fields are those of bench/measure.h."""
import json
import resource
import sys
import time

import numpy as np


def processor_seconds():
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


class Stopwatch:
    def __init__(self):
        self.cpu, self.wall = processor_seconds(), time.monotonic()

    def stop(self):
        self.cpu_s = processor_seconds() - self.cpu
        self.wall_s = time.monotonic() - self.wall


def say(sentence, watch, **fields):
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{sentence}, peak {peak_mib:.0f} MiB", file=sys.stderr)
    print(json.dumps({
        **fields, "work_cpu_s": watch.cpu_s, "work_wall_s": watch.wall_s,
        "process_cpu_s": processor_seconds(), "peak_mib": peak_mib}))


def read_labelled(path):
    """(n, p) doubles and (n,) labels from a table whose last column is the label."""
    table = np.load(path).astype(np.float64)
    return table[:, :-1], table[:, -1].astype(np.int64)
