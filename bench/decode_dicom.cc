// Decoding of a series beside DCMTK's own: ours to floats in Hounsfield units on an even grid,
// DCMTK's to the stored samples alone, and to a volume of floats by a loop over them.
//
//   decode_dicom folder=FOLDER [rounds=15] [syntax=rle]
//
// Every file of the folder is one of a series (or the folder holds several: each by itself). Both
// read the same files from the page cache; turns alternate, minima are compared. With syntax=rle
// the files are first written anew with DCMTK's run-length encoder.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcrledrg.h>
#include <dcmtk/dcmdata/dcrleerg.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmjpeg/djdecode.h>
#include <dcmtk/dcmjpls/djdecode.h>
#include <dcmtk/oflog/oflog.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "bench/measure.h"
#include "med3d/radiology/dicom_series.h"

namespace med3d::bench {
namespace {

namespace fs = std::filesystem;

void require(const OFCondition& status, std::string_view what) {
  if (status.bad()) throw Error(ErrorKind::kFormat, fmt::format("{}: {}", what, status.text()));
}

// A sum of samples, so that nothing is left out.
//
// volume  empty, or room for the values of all files, which are then made as one would: slope times
//         sample plus intercept
double dcmtk_decode(const std::vector<fs::path>& files, std::vector<float>& volume) {
  double sum = 0.0;
  std::size_t at = 0;
  for (const auto& path : files) {
    DcmFileFormat file;
    require(file.loadFile(path.c_str()), "load");
    DcmDataset* data = file.getDataset();
    require(data->chooseRepresentation(EXS_LittleEndianExplicit, nullptr), "decode");
    const Uint16* words = nullptr;
    const Uint8* bytes = nullptr;
    unsigned long count = 0;
    if (data->findAndGetUint16Array(DCM_PixelData, words, &count).good() && words != nullptr) {
      sum += words[count / 2];
      double slope = 1.0;
      double intercept = 0.0;
      Uint16 is_signed = 0;
      data->findAndGetFloat64(DCM_RescaleSlope, slope);
      data->findAndGetFloat64(DCM_RescaleIntercept, intercept);
      data->findAndGetUint16(DCM_PixelRepresentation, is_signed);
      for (unsigned long i = 0; i < count && at < volume.size(); ++i, ++at) {
        const int value = is_signed != 0 ? static_cast<Sint16>(words[i]) : words[i];
        volume[at] = static_cast<float>(slope * value + intercept);
      }
    } else {
      require(data->findAndGetUint8Array(DCM_PixelData, bytes, &count), "pixels");
      sum += bytes[count / 2];
    }
  }
  return sum;
}

int program(int argc, char** argv) {
  const Arguments arguments(argc, argv, {{"folder", ""}, {"rounds", "15"}, {"syntax", ""}});
  OFLog::configure(OFLogger::OFF_LOG_LEVEL);
  DcmRLEDecoderRegistration::registerCodecs();
  DcmRLEEncoderRegistration::registerCodecs();
  DJDecoderRegistration::registerCodecs();
  DJLSDecoderRegistration::registerCodecs();
  fs::path folder = arguments.text("folder");
  const fs::path made = fs::temp_directory_path() / fmt::format("decode_dicom-{}", getpid());
  if (arguments.text("syntax") == "rle") {
    fs::create_directories(made);
    int number = 0;
    for (const auto& series : find_series(folder).series) {
      for (const auto& path : series.files) {
        DcmFileFormat file;
        require(file.loadFile(path.c_str()), "load");
        require(file.getDataset()->chooseRepresentation(EXS_RLELossless, nullptr), "encode");
        require(file.saveFile((made / fmt::format("{}.dcm", number++)).c_str(), EXS_RLELossless),
                "save");
      }
    }
    folder = made;
  }
  Json json = Json::array();
  std::string sentence;
  for (const auto& series : find_series(folder).series) {
    double ours = std::numeric_limits<double>::infinity();
    double theirs = ours;
    double theirs_as_floats = ours;
    SeriesInfo info;
    try {
      info = inspect_series(series.files);
      load_series(series.files);
      for (int round = 0; round < arguments.count("rounds"); ++round) {
        const Stopwatch first;
        load_series(series.files);
        ours = std::min(ours, first.cpu_s());
        const Stopwatch second;
        std::vector<float> none;
        dcmtk_decode(series.files, none);
        theirs = std::min(theirs, second.cpu_s());
        const Stopwatch third;
        std::vector<float> volume(static_cast<std::size_t>(info.size[0] * info.size[1]) *
                                  info.images);
        dcmtk_decode(series.files, volume);
        theirs_as_floats = std::min(theirs_as_floats, third.cpu_s());
      }
    } catch (const Error& error) {
      sentence += fmt::format("left out: {}\n", error.what());
      continue;
    }
    sentence +=
        fmt::format("{} files, {}: {:.2f} times DCMTK's time, {:.2f} times that with floats\n",
                    series.files.size(),
                    info.transfer_syntaxes.front(),
                    ours / theirs,
                    ours / theirs_as_floats);
    json.push_back({{"files", series.files.size()},
                    {"syntax", info.transfer_syntaxes.front()},
                    {"seconds", ours},
                    {"dcmtk_seconds", theirs},
                    {"dcmtk_floats_seconds", theirs_as_floats}});
  }
  fs::remove_all(made);
  say(sentence, {{"series", json}, {"peak_mib", peak_mib()}});
  return 0;
}

}  // namespace
}  // namespace med3d::bench

int main(int argc, char** argv) { return med3d::bench::guarded(med3d::bench::program, argc, argv); }
