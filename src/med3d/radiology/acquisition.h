// How a scan was made, as far as a header tells it without telling who was scanned.
//
// Numbers, and words from lists of the standard or of makers; no free text, no date, no UID, no
// name of a station or an institution. A word that is not in a list is left out, whatever it is:
// any text element of a file may hold what somebody typed.
#pragma once

#include <filesystem>

#include "med3d/core/json.h"

namespace med3d {

// Keys as dcm2niix and BIDS have them, in one order; what the file does not say is not there:
//
//   Modality, Manufacturer, BodyPartExamined, ImageType, KVP, XRayTubeCurrent (mA), ExposureTime
//   (ms), ConvolutionKernel, MagneticFieldStrength (T), MRAcquisitionType, ScanningSequence,
//   SequenceVariant, EchoTime, RepetitionTime, InversionTime (s), FlipAngle (degrees),
//   EchoTrainLength, SliceThickness, SpacingBetweenSlices (mm), SpiralPitchFactor,
//   ContrastBolusAgentGiven
//
// Times of the header are in ms and become s, as BIDS has them.
//
// Throws as DicomFile::read.
//
// Source: DICOM PS3.3 C.8.2.1, C.8.3.1, C.7.6.4; PS3.16 annex L; BIDS 1.8, MRI metadata.
Json acquisition_parameters(const std::filesystem::path& dicom_file);

}  // namespace med3d
