"""Values pasted into src/med3d/wsi/quality_test.cc.

/usr/bin/python3 quality.py   (written with OpenCV 4.6.0)
"""
import cv2
import numpy as np


def tile(width, height):
    y, x = np.mgrid[:height, :width]
    return np.stack([(x * 37 + y * 11 + k * 53 + x * y * 7) % 251 for k in range(3)], 2).astype(np.uint8)


for width, height in ((33, 20), (1, 5), (64, 64)):
    rgb = tile(width, height)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    print(width, height, "sharpness", repr(cv2.Laplacian(grey, cv2.CV_64F).var()))
    print("  saturation", repr(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)[:, :, 1].mean()))
