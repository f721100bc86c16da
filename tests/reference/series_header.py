"""Values pasted into src/med3d/radiology/series_header_test.cc.

python3 series_header.py FOLDER_OF_DATA   (written with pydicom 2.3.1)

For the first file of each series: what the index keeps of its header.
"""
import os
import pathlib
import sys

import pydicom

NAMES = ["Modality", "SOPClassUID", "SeriesDescription", "StudyDescription", "BodyPartExamined", "ImageType",
         "ContrastBolusAgent", "ContrastBolusStartTime", "AcquisitionTime", "ImageOrientationPatient",
         "ImagePositionPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns", "EchoTime",
         "RepetitionTime", "SeriesNumber"]

root = pathlib.Path(sys.argv[1]) / "dicom"
seen = set()
for folder, _, files in sorted(os.walk(root)):
    for name in sorted(files):
        path = pathlib.Path(folder) / name
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except pydicom.errors.InvalidDicomError:
            continue
        series = header.get("SeriesInstanceUID")
        if series in seen:
            continue
        seen.add(series)
        print(path.relative_to(root))
        for key in NAMES:
            if header.get(key) is not None:
                print(f"    {key}: {header.get(key)}")
