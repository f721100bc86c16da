"""Numbers pasted into src/med3d/radiology/radiomics/phantom_test.cc and radiomics_test.cc.

python3 radiomics.py [TEST_DATA]   (written with numpy 1.24, scipy 1.10.1, scikit-image 0.19.3)

Radiomics by brute force, from the definitions alone: every pair, run, zone and neighbourhood is
found by looking at all voxels, distances by comparing all surface points. Two regions: the digital
phantom of the IBSI reference manual, and a made one of uneven voxels, negative values and holes.
"""
import base64
import gzip
import itertools
import struct
import sys

import numpy as np
from scipy import ndimage
from skimage import feature, measure
from skimage.measure import _marching_cubes_lewiner_luts as luts

EPS = np.spacing(1)
X = np.nan
# IBSI reference manual, figure of the digital phantom: 5 x 4 x 4 voxels (x, y, z) of 2 mm; rows y.
PHANTOM = np.array([
    [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
    [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [X, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
    [[1, 4, 4, X, X], [1, 1, 1, 1, 1], [1, 1, X, 1, 1], [1, 1, 6, 1, 1]],
    [[1, 4, 4, X, X], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]]])


def made():
    z, y, x = np.meshgrid(np.arange(9), np.arange(11), np.arange(13), indexing="ij")
    v = ((37 * x + 101 * y + 7 * z * z + 13 * x * y) % 97) * 3.5 - 120
    inside = ((x - 6) / 5.5) ** 2 + ((y - 5) / 4.5) ** 2 + ((z - 4) / 3.6) ** 2 <= 1
    inside &= (5 * x + 3 * y + 11 * z) % 17 != 0
    return np.where(inside, v, X), v, inside


def steps(distances=(1,), flat=False):
    reach = max(distances)
    out = []
    for s in itertools.product(range(-reach, reach + 1), repeat=3):
        if s > (0, 0, 0) and max(map(abs, s)) in distances and not (flat and s[0]):
            out.append(s)
    return out


def levels_of(v, width=None, count=None):
    inside = v[~np.isnan(v)]
    if count:
        edges = np.histogram(inside, count)[1]
        edges[-1] += 1
    else:
        edges = np.arange(inside.min() - inside.min() % width, inside.max() + 2 * width, width)
    out = np.zeros(v.shape, int)
    out[~np.isnan(v)] = np.digitize(inside, edges)
    return out


def shifted(places, s):
    return {tuple(np.add(p, s)) for p in places}


def first_order(v, level, spacing):
    a = v[~np.isnan(v)]
    _, n = np.unique(level[level > 0], return_counts=True)
    p = n / n.sum()
    p10, p25, p50, p75, p90 = np.percentile(a, [10, 25, 50, 75, 90])
    robust = a[(a >= p10) & (a <= p90)]
    m = lambda k: np.mean((a - a.mean()) ** k)
    return {
        "10Percentile": p10, "90Percentile": p90, "Energy": np.sum(a ** 2),
        "Entropy": -np.sum(p * np.log2(p)), "InterquartileRange": p75 - p25,
        "Kurtosis": m(4) / m(2) ** 2, "Maximum": a.max(),
        "MeanAbsoluteDeviation": np.mean(np.abs(a - a.mean())), "Mean": a.mean(), "Median": p50,
        "Minimum": a.min(), "Range": np.ptp(a),
        "RobustMeanAbsoluteDeviation": np.mean(np.abs(robust - robust.mean())),
        "RootMeanSquared": np.sqrt(np.mean(a ** 2)), "Skewness": m(3) / m(2) ** 1.5,
        "TotalEnergy": np.sum(a ** 2) * np.prod(spacing), "Uniformity": np.sum(p ** 2),
        "Variance": m(2)}


def glcm_matrix(level, s, symmetrical=True):
    at = {tuple(q): level[tuple(q)] for q in np.argwhere(level > 0)}
    out = np.zeros((level.max(), level.max()))
    for q, i in at.items():
        j = at.get(tuple(np.add(q, s)))
        if j:
            out[i - 1, j - 1] += 1
            if symmetrical:
                out[j - 1, i - 1] += 1
    return out


def glcm_values(counts, level):
    if counts.sum() == 0:
        return None
    g = np.unique(level[level > 0])
    p = counts[np.ix_(g - 1, g - 1)] / counts.sum()
    i, j = np.meshgrid(g, g, indexing="ij")
    px, py = p.sum(1), p.sum(0)
    mx, my = (p * i).sum(), (p * j).sum()
    sx, sy = np.sqrt((p * (i - mx) ** 2).sum()), np.sqrt((p * (j - my) ** 2).sum())
    k, ng = np.abs(i - j), level.max()
    pd = np.array([p[k == d].sum() for d in range(ng)])
    ps = np.array([p[i + j == d].sum() for d in range(2, 2 * ng + 1)])
    h = lambda q: -np.sum(q * np.log2(q + EPS))
    pxy = np.outer(px, py)
    hxy, hxy1, hxy2 = h(p), -np.sum(p * np.log2(pxy + EPS)), h(pxy)
    q = np.zeros_like(p)
    for a, b in itertools.product(range(len(g)), repeat=2):
        q[a, b] = sum(p[a, c] * p[b, c] / (px[a] * py[c] + EPS) for c in range(len(g)))
    eigen = np.sort(np.linalg.eigvals(q).real)
    d = np.arange(ng)
    da = (d * pd).sum()
    return {
        "Autocorrelation": (p * i * j).sum(), "ClusterProminence": (p * (i + j - mx - my) ** 4).sum(),
        "ClusterShade": (p * (i + j - mx - my) ** 3).sum(),
        "ClusterTendency": (p * (i + j - mx - my) ** 2).sum(), "Contrast": (p * k ** 2).sum(),
        "Correlation": (p * (i - mx) * (j - my)).sum() / (sx * sy) if sx * sy else 1.0,
        "DifferenceAverage": da, "DifferenceEntropy": h(pd),
        "DifferenceVariance": (pd * (d - da) ** 2).sum(), "Id": (pd / (1 + d)).sum(),
        "Idm": (pd / (1 + d ** 2)).sum(), "Idmn": (pd / (1 + d ** 2 / ng ** 2)).sum(),
        "Idn": (pd / (1 + d / ng)).sum(), "Imc1": (hxy - hxy1) / max(h(px), h(py)),
        "Imc2": np.sqrt(max(0, 1 - np.exp(-2 * (hxy2 - hxy)))),
        "InverseVariance": (pd[1:] / d[1:] ** 2).sum(), "JointAverage": mx,
        "JointEnergy": (p ** 2).sum(), "JointEntropy": hxy,
        "MCC": np.sqrt(max(0, eigen[-2])) if len(g) > 1 else 1.0, "MaximumProbability": p.max(),
        "SumAverage": (ps * np.arange(2, 2 * ng + 1)).sum(), "SumEntropy": h(ps),
        "SumSquares": (p * (i - mx) ** 2).sum()}


def run_counts(level, s):
    """All lines of the direction through the box, read from end to end."""
    size = np.array(level.shape)
    runs, two = {}, False
    for start in np.ndindex(*level.shape):
        if np.all((np.array(start) - s >= 0) & (np.array(start) - s < size)):
            continue  # not where a line begins
        q, line = np.array(start), []
        while np.all((q >= 0) & (q < size)):
            line.append(level[tuple(q)])
            q = q + s
        two |= np.count_nonzero(line) > 1
        for value, group in itertools.groupby(line):
            if value:
                key = (value, len(list(group)))
                runs[key] = runs.get(key, 0) + 1
    return runs if two else {}


def zone_counts(level, flat=False):
    structure = np.ones((3, 3, 3), int)
    if flat:
        structure[0] = structure[2] = 0
    out = {}
    for g in np.unique(level[level > 0]):
        labels, n = ndimage.label(level == g, structure)
        for size in np.bincount(labels.ravel())[1:]:
            out[(g, size)] = out.get((g, size), 0) + 1
    return out


def dependence_counts(level, alpha=0, distances=(1,)):
    out = {}
    for q in np.argwhere(level > 0):
        own = level[tuple(q)]
        near = [level[tuple(q + s)] for s in both(distances)
                if np.all((q + s >= 0) & (q + s < level.shape))]
        n = 1 + sum(1 for g in near if g and abs(g - own) <= alpha)
        out[(own, n)] = out.get((own, n), 0) + 1
    return out


def both(distances):
    return [np.array(s) for s in steps(distances)] + [-np.array(s) for s in steps(distances)]


def size_values(counts):
    if not counts:
        return None
    n = sum(counts.values())
    i = np.array([k[0] for k in counts], float)
    j = np.array([k[1] for k in counts], float)
    c = np.array(list(counts.values()), float)
    p = c / n
    group = lambda key: [c[key == u].sum() for u in np.unique(key)]
    return {
        "gln": sum(t ** 2 for t in group(i)) / n, "glnn": sum(t ** 2 for t in group(i)) / n ** 2,
        "glv": (p * (i - (p * i).sum()) ** 2).sum(), "high": (p * i ** 2).sum(),
        "large": (p * j ** 2).sum(), "large_high": (p * i ** 2 * j ** 2).sum(),
        "large_low": (p * j ** 2 / i ** 2).sum(), "low": (p / i ** 2).sum(),
        "entropy": -(p * np.log2(p + EPS)).sum(), "sn": sum(t ** 2 for t in group(j)) / n,
        "snn": sum(t ** 2 for t in group(j)) / n ** 2, "percentage": n / (c * j).sum(),
        "sv": (p * (j - (p * j).sum()) ** 2).sum(), "small": (p / j ** 2).sum(),
        "small_high": (p * i ** 2 / j ** 2).sum(), "small_low": (p / (i ** 2 * j ** 2)).sum()}


RUN = {"gln": "GrayLevelNonUniformity", "glnn": "GrayLevelNonUniformityNormalized",
       "glv": "GrayLevelVariance", "high": "HighGrayLevelRunEmphasis", "large": "LongRunEmphasis",
       "large_high": "LongRunHighGrayLevelEmphasis", "large_low": "LongRunLowGrayLevelEmphasis",
       "low": "LowGrayLevelRunEmphasis", "entropy": "RunEntropy", "sn": "RunLengthNonUniformity",
       "snn": "RunLengthNonUniformityNormalized", "percentage": "RunPercentage",
       "sv": "RunVariance", "small": "ShortRunEmphasis",
       "small_high": "ShortRunHighGrayLevelEmphasis", "small_low": "ShortRunLowGrayLevelEmphasis"}
ZONE = {"gln": "GrayLevelNonUniformity", "glnn": "GrayLevelNonUniformityNormalized",
        "glv": "GrayLevelVariance", "high": "HighGrayLevelZoneEmphasis",
        "large": "LargeAreaEmphasis", "large_high": "LargeAreaHighGrayLevelEmphasis",
        "large_low": "LargeAreaLowGrayLevelEmphasis", "low": "LowGrayLevelZoneEmphasis",
        "sn": "SizeZoneNonUniformity", "snn": "SizeZoneNonUniformityNormalized",
        "small": "SmallAreaEmphasis", "small_high": "SmallAreaHighGrayLevelEmphasis",
        "small_low": "SmallAreaLowGrayLevelEmphasis", "entropy": "ZoneEntropy",
        "percentage": "ZonePercentage", "sv": "ZoneVariance"}
DEPENDENCE = {"entropy": "DependenceEntropy", "sn": "DependenceNonUniformity",
              "snn": "DependenceNonUniformityNormalized", "sv": "DependenceVariance",
              "gln": "GrayLevelNonUniformity", "glv": "GrayLevelVariance",
              "high": "HighGrayLevelEmphasis", "large": "LargeDependenceEmphasis",
              "large_high": "LargeDependenceHighGrayLevelEmphasis",
              "large_low": "LargeDependenceLowGrayLevelEmphasis", "low": "LowGrayLevelEmphasis",
              "small": "SmallDependenceEmphasis",
              "small_high": "SmallDependenceHighGrayLevelEmphasis",
              "small_low": "SmallDependenceLowGrayLevelEmphasis"}


def tone_values(level, distances=(1,)):
    n, s = {}, {}
    for q in np.argwhere(level > 0):
        own = level[tuple(q)]
        near = [level[tuple(q + t)] for t in both(distances)
                if np.all((q + t >= 0) & (q + t < level.shape)) and level[tuple(q + t)]]
        n[own] = n.get(own, 0) + 1
        s[own] = s.get(own, 0) + (abs(own - np.mean(near)) if near else 0)
    g = np.array(sorted(n), float)
    total = sum(n.values())
    p = np.array([n[k] / total for k in sorted(n)])
    d = np.array([s[k] for k in sorted(n)])
    apart = np.abs(g[:, None] - g)
    return {
        "Busyness": (p * d).sum() / np.abs((g * p)[:, None] - g * p).sum(),
        "Coarseness": 1 / (p * d).sum(),
        "Complexity": (apart * ((p * d)[:, None] + p * d) / (p[:, None] + p)).sum() / total,
        "Contrast": (np.outer(p, p) * apart ** 2).sum() / (len(g) * (len(g) - 1)) * d.sum() / total,
        "Strength": ((p[:, None] + p) * apart ** 2).sum() / d.sum()}


def classic_table():
    shape, text = luts.CASESCLASSIC
    return np.frombuffer(base64.decodebytes(text.encode()), "int8").reshape(shape)


def shape(inside, spacing):
    """spacing and points in the order z, y, x, as pyradiomics has them."""
    at = np.argwhere(inside)
    box = inside[tuple(slice(a, b + 1) for a, b in zip(at.min(0), at.max(0)))]
    m = np.pad(box, 1).astype(int)
    corner = [(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1), (1, 1, 0)]
    pairs = [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)]
    middle = [np.add(corner[a], corner[b]) / 2 for a, b in pairs]
    table, area, volume = classic_table(), 0.0, 0.0
    for q in np.ndindex(*(np.array(m.shape) - 1)):
        k = sum(int(m[tuple(np.add(q, c))]) << n for n, c in enumerate(corner))
        sign = -1 if k & 128 else 1
        k = k ^ 255 if k & 128 else k
        edges = [e for e in table[k] if e >= 0]
        for t in range(0, len(edges), 3):
            a, b, c = ((q + middle[e]) * spacing for e in edges[t:t + 3])
            volume += sign * np.dot(np.cross(a, b), c) / 6
            area += np.linalg.norm(np.cross(a - c, b - c)) / 2
    points = []
    for q in np.argwhere(m):
        for s in np.vstack([np.eye(3, dtype=int), -np.eye(3, dtype=int)]):
            if not m[tuple(q + s)]:
                points.append((q + s / 2) * spacing)
    points = np.array(points)
    apart = np.sqrt(((points[:, None] - points) ** 2).sum(2))
    same = lambda axis: (apart * (points[:, None, axis] == points[:, axis])).max()
    eigen = np.sort(np.linalg.eigvalsh(np.cov((at * spacing).T, bias=True)))
    return {
        "Elongation": np.sqrt(eigen[1] / eigen[2]), "Flatness": np.sqrt(eigen[0] / eigen[2]),
        "LeastAxisLength": 4 * np.sqrt(eigen[0]), "MajorAxisLength": 4 * np.sqrt(eigen[2]),
        "Maximum2DDiameterColumn": same(1), "Maximum2DDiameterRow": same(2),
        "Maximum2DDiameterSlice": same(0), "Maximum3DDiameter": apart.max(), "MeshVolume": volume,
        "MinorAxisLength": 4 * np.sqrt(eigen[1]),
        "Sphericity": (36 * np.pi * volume ** 2) ** (1 / 3) / area, "SurfaceArea": area,
        "SurfaceVolumeRatio": area / volume, "VoxelVolume": len(at) * np.prod(spacing)}


def mean_of(rows):
    rows = [r for r in rows if r is not None]
    return {k: np.mean([r[k] for r in rows]) for k in rows[0]}


def merged(matrices, weights):
    out = {}
    for runs, w in zip(matrices, weights):
        for key, n in runs.items():
            out[key] = out.get(key, 0) + w * n
    return out


def all_features(v, spacing, width=25, count=None, distances=(1,), alpha=0, flat=False):
    """v (z, y, x), NaN outside; spacing z, y, x."""
    level = levels_of(v, width, count)
    named = lambda names, values: {names[k]: values[k] for k in names}
    out = {"shape": shape(~np.isnan(v), np.array(spacing, float)),
           "firstorder": first_order(v, level, spacing),
           "glcm": mean_of([glcm_values(glcm_matrix(level, s), level) for s in steps(distances, flat)]),
           "gldm": named(DEPENDENCE, size_values(dependence_counts(level, alpha, distances))),
           "glrlm": named(RUN, mean_of([size_values(run_counts(level, s)) for s in steps(flat=flat)])),
           "glszm": named(ZONE, size_values(zone_counts(level, flat))),
           "ngtdm": tone_values(level, distances)}
    return {f"original_{c}_{n}": float(x) for c in out for n, x in out[c].items()}


def paste(title, values):
    print(f"// {title}")
    for name, value in values.items():
        print(f'{{"{name}", {value!r}}},')


def read_nifti(path):
    b = gzip.open(path).read()
    dim, kind = struct.unpack("<8h", b[40:56]), struct.unpack("<h", b[70:72])[0]
    first = int(struct.unpack("<f", b[108:112])[0])
    kind = {2: np.uint8, 4: np.int16, 8: np.int32, 16: np.float32, 64: np.float64}[kind]
    v = np.frombuffer(b[first:], kind, dim[1] * dim[2] * dim[3]).reshape(dim[3], dim[2], dim[1])
    return v.astype(float), struct.unpack("<8f", b[76:108])[3:0:-1]


def kidney(data):
    """A real one: CT of TotalSegmentator's test data at 3 mm, label 2, right kidney."""
    image, spacing = read_nifti(data + "/nifti/totalseg_example_ct_sm.nii.gz")
    inside = read_nifti(data + "/nifti/totalseg_example_seg.nii.gz")[0] == 2
    at = np.argwhere(inside)
    box = tuple(slice(a, b + 1) for a, b in zip(at.min(0), at.max(0)))
    return all_features(np.where(inside, image, X)[box], spacing)


if __name__ == "__main__":
    if len(sys.argv) > 1:  # the folder of the test data
        paste("kidney", kidney(sys.argv[1]))
    paste("phantom, bin width 1", all_features(PHANTOM, (2, 2, 2), width=1))
    level = levels_of(PHANTOM, 1)
    total = sum(glcm_matrix(level, s) for s in steps())
    paste("phantom, GLCM merged", glcm_values(total, level))
    runs = size_values(merged([run_counts(level, s) for s in steps()], [1] * 13))
    paste("phantom, GLRLM merged", {RUN[k]: runs[k] for k in RUN})

    v, image, inside = made()
    spacing = (2.5, 1.1, 0.9)
    print("made:", inside.sum(), "voxels")
    paste("made, defaults", all_features(v, spacing))
    level = levels_of(v, None, 16)
    paste("made, 16 bins, distances 1 and 2, alpha 1",
          {k: x for k, x in all_features(v, spacing, None, 16, (1, 2), 1).items()
           if "_shape_" not in k and k.split("_", 2)[2] in
           ("Entropy", "Contrast", "MCC", "Imc1", "Correlation", "DependenceVariance",
            "LargeDependenceEmphasis", "RunEntropy", "ZoneEntropy", "Busyness", "Coarseness")})
    one_way = glcm_values(glcm_matrix(levels_of(v, 25), (1, -1, 1), False), levels_of(v, 25))
    paste("made, not symmetrical, step z 1, y -1, x 1", one_way)
    weights = {"manhattan": lambda s: np.abs(s * np.array(spacing)).sum(),
               "euclidean": lambda s: np.linalg.norm(s * np.array(spacing)),
               "infinity": lambda s: np.abs(s * np.array(spacing)).max()}
    level = levels_of(v, 25)
    for name, length in weights.items():
        w = [length(np.array(s)) for s in steps()]
        c = glcm_values(sum(np.exp(-a ** 2) * glcm_matrix(level, s) for a, s in zip(w, steps())), level)
        r = size_values(merged([run_counts(level, s) for s in steps()], w))
        print("weighted", name, repr(c["Contrast"]), repr(c["MCC"]), repr(r["large"]), repr(r["entropy"]))

    # Another grid: voxels of 1 mm, by scipy with the mirror that ITK has.
    new = np.array([1.0, 1.0, 1.0])
    at = np.argwhere(inside)
    ratio = np.array(spacing) / new
    grids = []
    for axis in range(3):
        low, high = at[:, axis].min(), at[:, axis].max()
        first = max(0, np.floor((low - 0.5) * ratio[axis]))
        last = min(np.ceil((high + 0.5) * ratio[axis]), np.ceil(image.shape[axis] * ratio[axis]) - 1)
        c = 0.5 * (new[axis] - spacing[axis]) / spacing[axis] + np.arange(first, last + 1) / ratio[axis]
        grids.append(c[(c >= -0.5) & (c < image.shape[axis] - 0.5)])
    c = np.array(np.meshgrid(*grids, indexing="ij"))
    near = np.floor(c + 0.5).astype(int)
    kept = inside[tuple(near)]
    for order, mode in ((3, "mirror"), (1, "nearest")):
        r = ndimage.map_coordinates(image, c, order=order, mode=mode)[kept]
        print("resampled", order, kept.sum(), repr(r.sum()), repr(r.min()), repr(r.max()), repr((r * (np.arange(r.size) % 89 + 1)).sum()))

    z, y, x = np.meshgrid(np.arange(14), np.arange(17), np.arange(21), indexing="ij")
    ball = ((x - 10) / 8.3) ** 2 + ((y - 8) / 6.7) ** 2 + ((z - 6.5) / 5.2) ** 2 <= 1
    p, f, _, _ = measure.marching_cubes(ball.astype(float), 0.5, spacing=(2.5, 1.1, 0.9), method="lorensen")
    a, b, d = (p[f[:, k]].astype(float) for k in range(3))
    print("skimage ball", int(ball.sum()), repr(float(measure.mesh_surface_area(p.astype(float), f))),
          repr(float(abs(np.einsum("ij,ij->i", np.cross(a, b), d).sum()) / 6)))
    s = shape(ball, np.array([2.5, 1.1, 0.9]))
    print("own ball", repr(s["SurfaceArea"]), repr(s["MeshVolume"]), repr(s["Maximum3DDiameter"]))
    example = np.array([[1, 2, 5, 2, 3], [3, 2, 1, 3, 1], [1, 3, 5, 5, 2], [1, 1, 1, 1, 2], [1, 2, 4, 3, 5]])
    print("skimage glcm", feature.graycomatrix(example, [1], [0], 6, symmetric=True)[1:, 1:, 0, 0].tolist())
