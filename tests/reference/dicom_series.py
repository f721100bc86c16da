"""Hashes pasted into src/med3d/radiology/dicom_series_test.cc.

python3 dicom_series.py FOLDER_OF_DATA   (written with pydicom 2.3.1, numpy 1.24)

For each series: its size, the SHA-256 of slope * stored + intercept as float32 (in double, then
rounded), slices sorted by position along their normal, and the first slice's position. Uncompressed
files only, and JPEG 2000 where pydicom finds a decoder.
"""
import hashlib
import pathlib
import sys

import numpy as np
import pydicom

root = pathlib.Path(sys.argv[1]) / "dicom"


def planes(file):
    pixels = file.pixel_array.astype(np.float64)
    if "PerFrameFunctionalGroupsSequence" in file:
        for frame, groups in zip(pixels, file.PerFrameFunctionalGroupsSequence):
            value = groups.PixelValueTransformationSequence[0]
            yield (groups.PlanePositionSequence[0].ImagePositionPatient,
                   groups.PlaneOrientationSequence[0].ImageOrientationPatient,
                   frame * float(value.RescaleSlope) + float(value.RescaleIntercept))
    else:
        yield (file.ImagePositionPatient, file.ImageOrientationPatient,
               pixels * float(file.get("RescaleSlope", 1)) + float(file.get("RescaleIntercept", 0)))


def show(name, files):
    slices = []
    for path in files:
        for position, orientation, values in planes(pydicom.dcmread(path, force=True)):
            o = np.array(orientation, float)
            slices.append((np.dot(np.array(position, float), np.cross(o[:3], o[3:])), position, values))
    slices.sort(key=lambda s: s[0])
    volume = np.stack([s[2] for s in slices]).astype("<f4")
    print(f'{{"{name}", {{{volume.shape[2]}, {volume.shape[1]}, {volume.shape[0]}}}, '
          f'"{hashlib.sha256(volume.tobytes()).hexdigest()}", '
          f'{{{", ".join(str(float(v)) for v in slices[0][1])}}}}},')


edge = "geometry_edge_cases/dicom2nifti/"
for name in ["ct_abdomen_postcontrast_cptac-pda_C3L-00189", "ct_abdomen_venous_stageII-colorectal-005",
             "mr_abdomen_coronal_tcga-lihc_TCGA-BC-4073",
             edge + "ge/anatomical/001", edge + "generic/anatomical/001",
             edge + "generic/anatomical/001_implicit", edge + "generic/anatomical/002_non_isotropic",
             edge + "failing/slicecount/001", edge + "philips_enhanced/anatomical/001",
             edge + "philips_enhanced/anatomical/001_implicit"]:
    show(name, sorted((root / name).glob("*.dcm")))
for name in ["CT1", "CT2", "MR1", "MR2", "MR3", "MR4"]:
    file = f"transfer_syntaxes/nema_wg04_compsamples/{name}_UNC"
    show(file, [root / file])
# Lossy JPEG 2000, decoded by Pillow 9.4 (OpenJPEG).
for name in ["CT1", "CT2", "MR1", "MR2", "MR3", "MR4"]:
    file = f"transfer_syntaxes/nema_wg04_compsamples/{name}_J2KI"
    show(file, [root / file])
show("single_abdomen_pydicom/MR-SIEMENS-DICOM-WithOverlays.dcm",
     [root / "single_abdomen_pydicom/MR-SIEMENS-DICOM-WithOverlays.dcm"])
