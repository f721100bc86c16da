"""Hashes and sums pasted into src/med3d/radiology/nifti_test.cc.

python3 nifti.py FOLDER_OF_DATA   (written with numpy 1.24; the headers are read by hand)

For each file the SHA-256 of its voxels as float32, x fastest, and the sform.
"""
import gzip
import hashlib
import pathlib
import struct
import sys

import numpy as np

root = pathlib.Path(sys.argv[1])
types = {2: "u1", 4: "<i2", 8: "<i4", 16: "<f4", 64: "<f8", 512: "<u2"}
for name in ["nifti/totalseg_example_ct.nii.gz", "nifti/totalseg_example_ct_sm.nii.gz",
             "nifti/totalseg_example_mr_sm.nii.gz", "nifti/totalseg_example_seg.nii.gz",
             "dicom/geometry_edge_cases/dicom2nifti/generic/anatomical/002_non_isotropic_ground_truth.nii.gz"]:
    data = gzip.open(root / name).read()
    dim = struct.unpack("<8h", data[40:56])
    dtype = types[struct.unpack("<h", data[70:72])[0]]
    offset = int(struct.unpack("<f", data[108:112])[0])
    slope, inter = struct.unpack("<2f", data[112:120])
    srow = struct.unpack("<12f", data[280:328])
    voxels = np.frombuffer(data, dtype, int(np.prod(dim[1:dim[0] + 1])), offset)
    assert (slope, inter) in [(1, 0), (0, 0)] or np.isnan(slope)
    print(name, dim[1:4], hashlib.sha256(voxels.astype("<f4").tobytes()).hexdigest(), srow)
