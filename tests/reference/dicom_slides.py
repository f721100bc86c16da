"""Hashes pasted into src/med3d/wsi/readers/dicom_test.cc.

python3 dicom_slides.py FOLDER_OF_SLIDES   (written with pydicom 2.3.1, Pillow 9.4.0)

For each file the SHA-256 of its total pixel matrix as RGB bytes, put together frame by frame in the
order of TILED_FULL. JPEG frames are decoded by Pillow, which goes by their own markers: pixel_array
goes by the header, and that of the last file says RGB where its frames are YCbCr.
"""
import hashlib
import io
import pathlib
import sys

import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import generate_pixel_data_frame

root = pathlib.Path(sys.argv[1])
for name in ["dicom_small/openslide_boxes_0.dcm", "dicom_small/openslide_boxes_1.dcm",
             "dicom_small/sm_image.dcm", "dicom_small/sm_image_control.dcm",
             "dicom_small/sm_image_jpegls.dcm", "pathml_small_dicom_SM_3236x2638.dcm"]:
    file = pydicom.dcmread(root / name)
    try:
        if file.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50":
            stored = generate_pixel_data_frame(file.PixelData, int(file.NumberOfFrames))
            frames = np.stack([np.asarray(Image.open(io.BytesIO(f)).convert("RGB")) for f in stored])
        else:
            frames = file.pixel_array
    except (RuntimeError, NotImplementedError) as error:
        print(name, "cannot be decoded here:", str(error)[:60])
        continue
    rows, columns = file.Rows, file.Columns
    frames = frames.reshape(-1, rows, columns, 3)
    height, width = file.TotalPixelMatrixRows, file.TotalPixelMatrixColumns
    across = -(-width // columns)
    down = -(-height // rows)
    whole = np.zeros((down * rows, across * columns, 3), np.uint8)
    for i, frame in enumerate(frames):
        y, x = i // across * rows, i % across * columns
        whole[y:y + rows, x:x + columns] = frame
    whole = np.ascontiguousarray(whole[:height, :width])
    print(name, width, height, hashlib.sha256(whole.tobytes()).hexdigest(), whole.mean(axis=(0, 1)).round(3))
