"""Collects the measurements of bench/compare and prints their medians as ratios.

ratios.py line WHAT WHO TIME_FILE STDOUT_FILE   one measurement as a line of JSON
ratios.py table RESULTS                         the table
"""
import json
import sys
from statistics import median


def line(what, who, time_file, stdout_file):
    with open(time_file) as file:
        user, system, wall, kilobytes = map(float, file.read().split())
    with open(stdout_file) as file:
        said = json.load(file)
    print(json.dumps({"what": what, "who": who, "cpu_s": user + system, "wall_s": wall,
                      "peak_mib": kilobytes / 1024, "said": said}))


def table(path):
    groups = {}
    with open(path) as file:
        for result in map(json.loads, file):
            groups.setdefault(result["what"], {}).setdefault(result["who"], []).append(result)
    print("| step | against | CPU, whole process | CPU, the step alone | peak memory | results |")
    print("| --- | --- | --- | --- | --- | --- |")
    for what, sides in groups.items():
        if what == "run":
            continue
        ours = sides["med3d"]
        for who, theirs in sides.items():
            if who == "med3d":
                continue
            process = ratio(theirs, ours, lambda r: r["cpu_s"])
            step = ratio(theirs, ours, lambda r: r["said"]["work_cpu_s"])
            if what == "umap":  # the first run of two compiles: taken out of both columns
                again = median(r["said"]["compiled_cpu_s"] for r in theirs)
                alone = median(r["said"]["work_cpu_s"] for r in ours)
                process = median(r["cpu_s"] - r["said"]["compiled_cpu_s"] for r in theirs) / median(
                    r["cpu_s"] for r in ours)
                step = f"{step:.1f} (compiled before: {again / alone:.1f})"
            else:
                step = f"{step:.1f}"
            memory = ratio(theirs, ours, lambda r: r["peak_mib"])
            print(f"| {what} | {who} | {process:.1f} | {step} | {memory:.1f} | "
                  f"{agreement(ours, theirs)} |")
    for what, sides in groups.items():
        for who, results in sides.items():
            cpu = sorted(r["cpu_s"] for r in results)
            print(f"# {what}, {who}: {len(cpu)} runs, CPU s {cpu[0]:.2f} to {cpu[-1]:.2f}, median "
                  f"{median(cpu):.2f}, peak {median(r['peak_mib'] for r in results):.0f} MiB")
    if "run" in groups and "clinical-arm" in groups:
        versus_fits(groups)


def versus_fits(groups):
    run = groups["run"]["med3d"][0]
    fits = groups["run"]["plan"][0]["said"]["fits"]
    for who, results in groups["clinical-arm"].items():
        one = median(r["said"]["work_cpu_s"] for r in results)
        print(f"# run: all {fits} fits of all models and the report cost as much as "
              f"{run['cpu_s'] / one:.0f} fits of the clinical arm alone by {who}")


def ratio(theirs, ours, value):
    return median(map(value, theirs)) / median(map(value, ours))


def agreement(ours, theirs):
    a, b = ours[0]["said"], theirs[0]["said"]
    if "sum" in a:
        same = a["rows_after"] == b["rows_after"] and abs(a["sum"] - b["sum"]) <= 1e-9 * abs(b["sum"])
        return "equal" if same else f"DIFFERENT: {a['sum']} and {b['sum']}"
    for key in ("auroc", "trustworthiness"):
        if key in a:
            return f"{key} {a[key]:.3f}, theirs {b[key]:.3f}"
    return ""


if sys.argv[1] == "line":
    line(*sys.argv[2:])
else:
    table(sys.argv[2])
