// Slides in TIFF: Aperio SVS, pyramidal OME-TIFF, generic tiled pyramids, and plain TIFF images.
//
// Read: classic and BigTIFF; tiles or strips; JPEG (tables apart or not), Aperio's JPEG 2000
// (33003, 33005), no compression, LZW, deflate, PackBits; 8-bit RGB, YCbCr (JPEG only) and grey;
// RGBA without its alpha; planes apart if they are not JPEG. What a TIFF of Hamamatsu, Leica,
// Philips, Roche or Trestle holds is left to OpenSlide: its pieces need their vendor's rules.
//
// Which directory is what
//   Aperio    every tiled directory is a level; those in strips are associated images: the second
//             of the file is the thumbnail, others go by the word in their description ("label",
//             "macro") or, without one, by NewSubfileType 1 (label) and 9 (macro)
//   OME       the first directory and its SubIFDs; other directories by the Name of their Image
//   generic   the first directory, those marked as of reduced resolution, and SubIFDs of the first
//
// Pixels are those of openslide_read_region (3.4.1) with its alpha dropped, to the bit at every
// corner of every level: between pixels it blends as readers/pixels_between_internal.h says. A
// region that is wider or higher than 4096 is read in pieces of that size whose corners are cut to
// whole level-0 pixels, as OpenSlide's are. Two exceptions. A tile that is missing (no bytes) is 0
// here; on a lower level of an Aperio slide it holds the means of the level above, where OpenSlide
// scales that level with cairo. A level that is smaller than its tile and not stored as JPEG or
// JPEG 2000 is read as it is, where OpenSlide shows memory that was never written.
//
// Decoded tiles are kept up to 64 MiB: a walk in tile order decodes each tile once.
//
// Cost of opening: 16 bytes of memory for each tile of the slide. The reader holds one file
// descriptor and no thread.
//
// Checked against: OpenSlide 3.4.1 (tests/reference/openslide_regions.py); cuts, bit flips, cycles.
// Source: TIFF 6.0; TIFF Technical Notes 1 and 2; the OME-TIFF specification; Aperio's description
// of its Digital Slides (2009).
#pragma once

#include "med3d/wsi/slide.h"

namespace med3d {

extern const SlideFormat tiff_slide_format;

}  // namespace med3d
