#include "med3d/pipeline/slides/extract_slides.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <ctime>
#include <deque>
#include <fstream>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/file.h"
#include "med3d/core/hash.h"
#include "med3d/core/json.h"
#include "med3d/core/random.h"
#include "med3d/encoders/resize.h"
#include "med3d/io/formats/hdf5.h"
#include "med3d/io/formats/safetensors.h"
#include "med3d/io/formats/torch_file.h"
#include "med3d/pipeline/slides/partial_features.h"
#include "med3d/wsi/mpp.h"
#include "med3d/wsi/process_list.h"
#include "med3d/wsi/slide.h"
#include "med3d/wsi/tile_file.h"

namespace med3d::pipeline {
namespace {

namespace fs = std::filesystem;

// Why a tile was left out, as a byte of the partial file. Its meaning is part of the file's format.
enum Dropped : std::uint8_t { kKept = 0, kUnreadable = 1, kQuality = 16 };

std::string name_of(std::uint8_t dropped) {
  if (dropped == kUnreadable) return "unreadable";
  return to_string(static_cast<DropReason>(dropped - kQuality));
}

constexpr std::int64_t kStainTiles = 64;      // looked at for a slide's stains
constexpr std::int64_t kStainPixels = 4'000;  // of each

constexpr std::size_t kCalibrationTiles = 64;         // that int8 takes its scales from
constexpr std::size_t kCalibrationTilesOfASlide = 8;  // at most, evenly over its tiles

// Wall time since the process was started, to a hundredth of a second: Linux keeps both times since
// the machine's boot. 0 where they cannot be read.
double process_age_s() {
  try {
    std::ifstream file("/proc/self/stat");  // of no size, so that read_file finds it empty
    std::string stat;
    std::getline(file, stat);
    // Field 22; the second one, the program's name, may hold anything but ends in the last ')'.
    std::size_t at = stat.rfind(')');
    for (int field = 2; field < 22 && at != std::string::npos; ++field) at = stat.find(' ', at + 1);
    if (at == std::string::npos) return 0.0;
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    const double started =
        std::stod(stat.substr(at + 1)) / static_cast<double>(sysconf(_SC_CLK_TCK));
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec) - started;
  } catch (const std::exception&) {
    return 0.0;
  }
}

double wall_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double processor_s(clockid_t clock) {  // of the thread or the process
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// A slide between its first tile and its files. Readers fill it, the encoding thread finishes it.
struct Work {
  std::size_t index = 0;  // among the slides of the job
  Tiles tiles;
  std::string key;
  std::unique_ptr<PartialFeatures> partial;
  std::vector<std::string> warnings;  // of this step
  std::atomic<bool> failed{false};
};

// Consecutive tiles of one slide: their pixels, those left out not among them.
struct Chunk {
  std::shared_ptr<Work> work;
  std::uint64_t first = 0;
  std::vector<std::uint8_t> dropped;
  std::vector<std::uint8_t> pixels;  // (kept, input_px, input_px, 3)
  std::size_t kept = 0;
  bool last = false;  // the slide's end: nothing else is in it

  std::vector<float> embeddings;  // as they come
};

// Chunks from readers to the encoding thread, bounded by the tiles in it.
class Queue {
 public:
  Queue(std::size_t most_tiles, int readers) : most_(most_tiles), readers_(readers) {}

  void push(Chunk chunk) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return tiles_ < most_ || stopped_; });
    if (stopped_) return;
    tiles_ += chunk.kept;
    chunks_.push_back(std::move(chunk));
    filled_.notify_one();
  }
  // Nothing once every reader is done and the queue is empty.
  std::optional<Chunk> pop() {
    std::unique_lock lock(mutex_);
    filled_.wait(lock, [&] { return !chunks_.empty() || readers_ == 0; });
    if (chunks_.empty()) return std::nullopt;
    Chunk chunk = std::move(chunks_.front());
    chunks_.pop_front();
    tiles_ -= chunk.kept;
    room_.notify_all();
    return chunk;
  }
  void reader_done() {
    const std::lock_guard lock(mutex_);
    --readers_;
    filled_.notify_all();
  }
  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    room_.notify_all();
  }
  bool stopped() {
    const std::lock_guard lock(mutex_);
    return stopped_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable room_, filled_;
  std::deque<Chunk> chunks_;
  std::size_t tiles_ = 0;
  std::size_t most_;
  int readers_;
  bool stopped_ = false;
};

class Extraction {
 public:
  Extraction(const std::vector<SlideItem>& slides,
             std::vector<SlideOutcome> outcomes,
             const SlideFolder& folder,
             LoadedEncoder& encoder,
             const ExtractJob& job,
             Progress& progress)
      : slides_(slides),
        outcomes_(std::move(outcomes)),
        folder_(folder),
        encoder_(encoder),
        job_(job),
        progress_(progress),
        tile_bytes_(static_cast<std::size_t>(3 * encoder.input_px * encoder.input_px)),
        dim_(static_cast<std::size_t>(encoder.encoder->embedding_dim())),
        queue_(static_cast<std::size_t>(4 * job.batch), job.readers) {
    // As CLAM, tiling writes no coordinates for a slide without tissue; its list tells it from one
    // that was never tiled.
    if (!job.patches.empty() || !fs::exists(folder.process_list())) return;
    for (const auto& row : read_process_list(folder.process_list()).rows) {
      if (row.status == kProcessed) tiled_.insert(row.slide_id);
    }
  }

  std::vector<SlideOutcome> run() {
    if (encoder_.encoder->precision() == Precision::kInt8) {
      const double begin = wall_s();
      calibrate();
      times_.calibrate_s = wall_s() - begin;
    }
    const double begin = wall_s();
    const double process_begin = processor_s(CLOCK_PROCESS_CPUTIME_ID);
    std::vector<std::thread> readers;
    try {
      for (int i = 0; i < job_.readers; ++i) readers.emplace_back([&] { read_slides(); });
      encode();
    } catch (...) {
      queue_.stop();
      for (auto& reader : readers) reader.join();
      throw;
    }
    for (auto& reader : readers) reader.join();
    if (job_.times && times_.tiles > 0) {
      times_.wall_s = wall_s() - begin;
      times_.process_cpu_s = processor_s(CLOCK_PROCESS_CPUTIME_ID) - process_begin;
      job_.times(times_);
    }
    return std::move(outcomes_);
  }

 private:
  // ---- before them: the scales of int8

  // What this encoder found in this folder before, so that slides added later meet the same scales.
  bool take_scales() {
    if (job_.redo || !fs::exists(folder_.int8_scales())) return false;
    try {
      const Json found = read_json(folder_.int8_scales());
      if (found.at("encoder") != scales_of_what()) return false;
      encoder_.encoder->set_scales(found.at("scales").get<std::vector<float>>());
      calibration_ = found.at("calibrated_on").get<std::string>();
    } catch (const std::exception&) {
      return false;  // a damaged file is none
    }
    return true;
  }

  Json scales_of_what() const {
    return {{"name", encoder_.name},
            {"weights_sha256", encoder_.weights_sha256},
            {"weights_seed", encoder_.trained ? Json() : Json(job_.seed)},
            {"options", encoder_.options},
            {"input_px", encoder_.input_px}};
  }

  // From the first slides that can be read, so that a job that goes on takes the same ones. Errors
  // are told where the slide is read in earnest.
  void calibrate() {
    if (take_scales()) return;
    std::vector<std::uint8_t> pixels;
    for (std::size_t i = 0; i < slides_.size() && pixels.size() < kCalibrationTiles * tile_bytes_;
         ++i) {
      if (outcomes_[i].status == SlideStatus::kFailed) continue;
      try {
        Tiles tiles = read_tiles(tile_path(slides_[i].slide_id)).tiles;
        const auto slide = open_slide(slides_[i].path);
        if (tiles.read_level < 0) choose_read_level(tiles, slide->info());
        RgbResize resize(tiles.read_size, tiles.read_size, encoder_.input_px, encoder_.input_px);
        const std::size_t count = tiles.coords.rows();
        const std::size_t taken = std::min(count, kCalibrationTilesOfASlide);
        for (std::size_t k = 0; k < taken; ++k) {
          const std::size_t tile = k * count / taken;
          const RgbImage raw = slide->read_region(tiles.coords(tile, 0),
                                                  tiles.coords(tile, 1),
                                                  tiles.read_level,
                                                  tiles.read_size,
                                                  tiles.read_size);
          pixels.resize(pixels.size() + tile_bytes_);
          resize.run(raw.pixels, {pixels.data() + pixels.size() - tile_bytes_, tile_bytes_});
        }
      } catch (const Error&) {
        continue;
      }
    }
    if (pixels.empty()) return;  // then there is nothing to encode either
    calibration_ =
        sha256_hex(std::string_view(reinterpret_cast<const char*>(pixels.data()), pixels.size()));
    encoder_.encoder->calibrate(pixels);
    const std::vector<float> scales = encoder_.encoder->scales();
    if (scales.empty()) return;
    write_json(
        folder_.int8_scales(),
        {{"encoder", scales_of_what()}, {"calibrated_on", calibration_}, {"scales", scales}});
  }

  // ---- readers

  void read_slides() {
    for (std::size_t i = next_++; i < slides_.size() && !queue_.stopped(); i = next_++) {
      if (outcomes_[i].status == SlideStatus::kFailed ||
          outcomes_[i].status == SlideStatus::kEmpty) {
        continue;
      }
      auto work = std::make_shared<Work>();
      work->index = i;
      try {
        read_slide(work);
      } catch (const std::exception& error) {
        fail(*work, error);
      }
    }
    {
      const std::lock_guard lock(failing_);
      times_.read_cpu_s += processor_s(CLOCK_THREAD_CPUTIME_ID);
    }
    queue_.reader_done();
  }

  void read_slide(const std::shared_ptr<Work>& work) {
    const SlideItem& item = slides_[work->index];
    // Other threads look at this outcome only when the slide's last chunk has been queued.
    SlideOutcome& outcome = outcomes_[work->index];
    outcome.step = "extract";
    if (!item.problem.empty()) throw Error(ErrorKind::kData, item.problem);
    if (tiled_.contains(item.path.filename().string()) &&
        !fs::exists(folder_.tiles(item.slide_id))) {
      outcome.status = SlideStatus::kEmpty;
      outcome.reason = "no tissue was found when it was tiled";
      return;
    }
    work->tiles = read_tiles(tile_path(item.slide_id)).tiles;
    Tiles& tiles = work->tiles;
    outcome.tiles = static_cast<std::int64_t>(tiles.coords.rows());
    if (outcome.tiles == 0) {
      outcome.status = SlideStatus::kEmpty;
      outcome.reason = "its coordinate file has no tiles";
      return;
    }
    work->key = key_of(item, tiles);
    const auto most_bad = static_cast<std::int64_t>(
        std::floor(job_.max_bad_tiles * static_cast<double>(outcome.tiles)));
    if (!job_.redo && is_finished(item, work->key, most_bad, outcome)) return;

    auto slide = open_slide(item.path);
    outcome.format = slide->info().format;
    const MppVerdict verdict = judge_mpp(slide->info(), item.mpp);
    if (outcome.mpp <= 0) {
      outcome.mpp = verdict.mpp.value_or(0.0);
      outcome.mpp_source = verdict.source;
    }
    if (tiles.read_level < 0) choose_read_level(tiles, slide->info());
    const double mpp = tiles.read_size > 0 ? outcome.mpp * static_cast<double>(tiles.footprint) /
                                                 static_cast<double>(tiles.read_size)
                                           : 0.0;
    work->partial = std::make_unique<PartialFeatures>(
        folder_.partial(item.slide_id), work->key, static_cast<std::uint64_t>(dim_));
    std::int64_t bad = 0;
    work->partial->read([&](const FeatureBatch& batch) {
      for (const std::uint8_t reason : batch.dropped) bad += reason == kUnreadable ? 1 : 0;
    });
    progress_.advance(static_cast<std::size_t>(work->partial->tiles_done()));

    std::vector<std::uint8_t> raw(static_cast<std::size_t>(3 * tiles.read_size * tiles.read_size));
    RgbResize resize(tiles.read_size, tiles.read_size, encoder_.input_px, encoder_.input_px);
    const StainFit stain = fit_slide_stain(*slide, tiles, raw, work->warnings);

    const auto count = static_cast<std::uint64_t>(outcome.tiles);
    for (std::uint64_t first = work->partial->tiles_done(); first < count;) {
      Chunk chunk;
      chunk.work = work;
      chunk.first = first;
      const std::uint64_t end =
          std::min<std::uint64_t>(count, first + static_cast<std::uint64_t>(job_.batch));
      chunk.pixels.reserve(static_cast<std::size_t>(end - first) * tile_bytes_);
      for (; first < end; ++first) {
        std::uint8_t dropped = kKept;
        std::string why;
        try {
          slide->read_region(tiles.coords(first, 0),
                             tiles.coords(first, 1),
                             tiles.read_level,
                             tiles.read_size,
                             tiles.read_size,
                             raw);
        } catch (const Error& error) {
          dropped = kUnreadable;
          why = error.what();
        }
        if (dropped == kKept && job_.check_quality) {
          const auto quality =
              measure_quality(raw, tiles.read_size, tiles.read_size, mpp, job_.quality);
          const DropReason reason = drop_reason(quality, job_.quality);
          if (reason != DropReason::kNone) {
            dropped = static_cast<std::uint8_t>(kQuality + static_cast<int>(reason));
          }
        }
        chunk.dropped.push_back(dropped);
        if (dropped == kUnreadable && ++bad > most_bad) {
          throw Error(ErrorKind::kFormat,
                      fmt::format("{} of {} tiles cannot be read, more than {:g} %: {}",
                                  bad,
                                  count,
                                  100 * job_.max_bad_tiles,
                                  why));
        }
        if (dropped != kKept) continue;
        const std::size_t at = chunk.pixels.size();
        chunk.pixels.resize(at + tile_bytes_);
        const std::span<std::uint8_t> tile(chunk.pixels.data() + at, tile_bytes_);
        resize.run(raw, tile);
        if (stain.usable) apply_stain(stain, job_.stain, tile);
        ++chunk.kept;
      }
      if (work->failed || queue_.stopped()) return;
      queue_.push(std::move(chunk));
    }
    Chunk end;
    end.work = work;
    end.last = true;
    queue_.push(std::move(end));
  }

  StainFit fit_slide_stain(Slide& slide,
                           const Tiles& tiles,
                           std::vector<std::uint8_t>& raw,
                           std::vector<std::string>& warnings) const {
    if (job_.stain.method == StainMethod::kNone) return {};
    const auto count = static_cast<std::int64_t>(tiles.coords.rows());
    const std::int64_t looked = std::min(count, kStainTiles);
    std::vector<std::uint8_t> sample;
    for (std::int64_t i = 0; i < looked; ++i) {
      const auto tile = static_cast<std::size_t>(i * count / looked);
      try {
        slide.read_region(tiles.coords(tile, 0),
                          tiles.coords(tile, 1),
                          tiles.read_level,
                          tiles.read_size,
                          tiles.read_size,
                          raw);
      } catch (const Error&) {
        continue;  // it will be counted where it is to be encoded
      }
      const auto drawn = sample_tissue_pixels(
          raw, kStainPixels, derive_seed(job_.seed, "stain", {tile}), job_.stain);
      sample.insert(sample.end(), drawn.begin(), drawn.end());
    }
    StainFit fit = fit_stain(sample, job_.stain);
    if (!fit.usable) warnings.push_back("stains left as they are: " + fit.reason);
    return fit;
  }

  // By the reader or the encoding thread; what went wrong first is what is told.
  void fail(Work& work, const std::exception& error) {
    const std::lock_guard lock(failing_);
    if (work.failed.exchange(true)) return;
    SlideOutcome& outcome = outcomes_[work.index];
    outcome.status = SlideStatus::kFailed;
    outcome.reason = describe(error);
  }

  fs::path tile_path(const std::string& id) const {
    const fs::path patches = job_.patches.empty() ? folder_.patches() : job_.patches;
    for (const char* ending : {".h5", "_patches.h5"}) {
      if (fs::exists(patches / (id + ending))) return patches / (id + ending);
    }
    throw Error(
        ErrorKind::kNotFound,
        fmt::format("no coordinates of tiles: {} is not there", (patches / (id + ".h5")).string()));
  }

  // Everything that decides a feature's bits. The slide's own bytes are represented by their
  // number.
  std::string key_of(const SlideItem& item, const Tiles& tiles) const {
    Sha256 hash;
    const auto add = [&](const std::string& text) { hash.update(text + "\n"); };
    add(fmt::format("slide {}", bytes_of(item)));
    hash.update(tiles.coords.data(), tiles.coords.size() * sizeof(std::int64_t));
    add(fmt::format("read {} {} {}", tiles.read_level, tiles.read_size, tiles.footprint));
    add(fmt::format("encoder {} {} {} {}",
                    encoder_.name,
                    encoder_.weights_sha256,
                    to_string(encoder_.encoder->precision()),
                    encoder_.input_px));
    if (!encoder_.options.empty()) add(encoder_.options);
    if (const std::string engine = encoder_.engine.text(); !engine.empty()) add(engine);
    if (!calibration_.empty()) add("calibrated on " + calibration_);
    if (!encoder_.trained) add(fmt::format("weights' seed {}", job_.seed));
    if (job_.stain.method != StainMethod::kNone) {
      add(fmt::format("stain {} seed {}", to_string(job_.stain.method), job_.seed));
    }
    if (job_.check_quality) {
      const auto& q = job_.quality;
      add(fmt::format("quality {} {}{}{}{} {} {} {} {} {}",
                      item.mpp.value_or(0.0),
                      q.check_blank,
                      q.check_black,
                      q.check_blur,
                      q.check_pen,
                      q.min_saturation,
                      q.min_brightness,
                      q.blur_mpp,
                      q.min_sharpness,
                      q.max_ink));
    }
    return hash.hex();
  }

  std::vector<fs::path> files_of(const std::string& id) const {
    std::vector<fs::path> files;
    if (job_.write_h5) files.push_back(folder_.features_h5(id));
    if (job_.write_pt) files.push_back(folder_.features_pt(id));
    if (job_.write_safetensors) files.push_back(folder_.features_safetensors(id));
    return files;
  }

  bool is_finished(const SlideItem& item,
                   const std::string& key,
                   std::int64_t most_bad,
                   SlideOutcome& outcome) {
    const fs::path path = folder_.record(item.slide_id);
    if (!fs::exists(path)) return false;
    SlideOutcome found = outcome;
    try {
      const Json record = read_json(path);
      if (record.at("key").get<std::string>() != key) return false;
      for (const auto& file : files_of(item.slide_id)) {
        const std::string name = fs::relative(file, folder_.root).generic_string();
        if (!record.at("files").contains(name) || !fs::exists(file) ||
            fs::file_size(file) != record.at("files").at(name).get<std::uint64_t>()) {
          return false;
        }
      }
      found.features = record.at("features").get<std::int64_t>();
      for (const auto& [reason, n] : record.at("dropped").items()) {
        found.dropped[reason] = n.get<std::int64_t>();
      }
      if (found.dropped.contains("unreadable") && found.dropped["unreadable"] > most_bad) {
        return false;
      }
      const Json& slide = record.at("slide");
      found.format = slide.at("format").get<std::string>();
      if (!slide.at("mpp").is_null()) found.mpp = slide.at("mpp").get<double>();
      found.mpp_source = slide.at("mpp_source").get<std::string>();
      for (const auto& warning : record.at("warnings")) {
        found.warnings.push_back(warning.get<std::string>());
      }
    } catch (const std::exception&) {
      return false;  // a damaged record is none
    }
    outcome = std::move(found);
    outcome.status = SlideStatus::kKept;
    progress_.advance(static_cast<std::size_t>(outcome.tiles));
    return true;
  }

  // ---- the encoding thread

  // Tiles of several chunks, and of several slides, share a batch: a slide of 50 tiles would else
  // pay for 64.
  void encode() {
    std::deque<Chunk> waiting;   // with tiles not yet encoded, then ends of slides among them
    std::size_t encoded = 0;     // tiles of waiting.front() that are
    std::size_t open_tiles = 0;  // neither encoded nor held by the encoder, in all of waiting
    const auto batch = static_cast<std::size_t>(job_.batch);
    std::vector<std::uint8_t> pixels(batch * tile_bytes_);
    std::vector<float> out(batch * dim_);

    const auto settle = [&] {  // chunks at the front that are complete
      while (!waiting.empty() && encoded == waiting.front().kept) {
        Chunk chunk = std::move(waiting.front());
        waiting.pop_front();
        encoded = 0;
        if (chunk.work->failed) continue;
        try {
          finish_chunk(chunk);
        } catch (const std::exception& error) {
          fail(*chunk.work, error);
        }
      }
    };
    // Of batches that the encoder holds, oldest first: their tiles come after the encoded ones.
    std::deque<std::size_t> held;
    std::size_t held_tiles = 0;
    const auto most_held = static_cast<std::size_t>(encoder_.encoder->in_flight());

    const auto deliver = [&](std::size_t n) {
      if (times_.tiles == 0) times_.first_s = process_age_s();
      times_.tiles += static_cast<std::int64_t>(n);
      for (std::size_t done = 0; done < n;) {
        Chunk& chunk = waiting.front();
        const std::size_t take = std::min(n - done, chunk.kept - encoded);
        chunk.embeddings.insert(chunk.embeddings.end(),
                                out.begin() + static_cast<std::ptrdiff_t>(done * dim_),
                                out.begin() + static_cast<std::ptrdiff_t>((done + take) * dim_));
        done += take;
        encoded += take;
        settle();
      }
    };
    const auto collect = [&] {
      const std::size_t n = held.front();
      held.pop_front();
      const double begin = wall_s();
      encoder_.encoder->collect({out.data(), n * dim_});
      times_.encode_s += wall_s() - begin;
      held_tiles -= n;
      deliver(n);
    };
    const auto encode_batch = [&] {
      std::size_t n = 0;
      std::size_t at = encoded + held_tiles;
      std::size_t begins = 0;  // the chunk that `at` is in
      for (; begins < waiting.size() && at >= waiting[begins].kept; ++begins) {
        at -= waiting[begins].kept;
      }
      for (std::size_t c = begins; c < waiting.size() && n < batch; ++c, at = 0) {
        const std::size_t take = std::min(batch - n, waiting[c].kept - at);
        std::copy_n(waiting[c].pixels.data() + at * tile_bytes_,
                    take * tile_bytes_,
                    pixels.data() + n * tile_bytes_);
        n += take;
      }
      open_tiles -= n;
      if (most_held == 1) {
        const double begin = wall_s();
        encoder_.encoder->encode({pixels.data(), n * tile_bytes_}, {out.data(), n * dim_});
        times_.encode_s += wall_s() - begin;
        deliver(n);
        return;
      }
      const double begin = wall_s();
      encoder_.encoder->submit({pixels.data(), n * tile_bytes_});
      times_.encode_s += wall_s() - begin;
      held.push_back(n);
      held_tiles += n;
      if (held.size() == most_held) collect();
    };

    const auto next = [&] {
      const double begin = wall_s();
      auto chunk = queue_.pop();
      times_.wait_s += wall_s() - begin;
      return chunk;
    };
    while (auto chunk = next()) {
      open_tiles += chunk->kept;
      waiting.push_back(std::move(*chunk));
      settle();
      while (open_tiles >= batch) encode_batch();
    }
    while (open_tiles > 0) encode_batch();
    while (!held.empty()) collect();
    settle();
  }

  void finish_chunk(Chunk& chunk) {
    Work& work = *chunk.work;
    if (chunk.last) {
      finish_slide(work);
      return;
    }
    if (!std::all_of(chunk.embeddings.begin(), chunk.embeddings.end(), [](float value) {
          return std::isfinite(value);
        })) {
      throw Error(ErrorKind::kNumerical,
                  fmt::format("the encoder gave a value that is not finite in tiles {} to {}",
                              chunk.first,
                              chunk.first + chunk.dropped.size() - 1));
    }
    const std::size_t tiles = chunk.dropped.size();
    work.partial->append({chunk.first, std::move(chunk.dropped), std::move(chunk.embeddings)});
    progress_.advance(tiles);
  }

  void finish_slide(Work& work) {
    const std::string& id = slides_[work.index].slide_id;
    SlideOutcome& outcome = outcomes_[work.index];
    const PartialFeatures& partial = *work.partial;
    Matrix<std::int64_t> coords;
    partial.read([&](const FeatureBatch& batch) {
      for (std::size_t i = 0; i < batch.dropped.size(); ++i) {
        if (batch.dropped[i] == kKept) {
          coords.append_row(work.tiles.coords.row(static_cast<std::size_t>(batch.first) + i));
        } else {
          ++outcome.dropped[name_of(batch.dropped[i])];
        }
      }
    });
    outcome.features = static_cast<std::int64_t>(partial.rows());
    if (partial.rows() == 0) {
      throw Error(ErrorKind::kData, "every tile was left out: nothing to encode");
    }
    // An old record must not speak for new files, should a kill come between the two.
    fs::remove(folder_.record(id));
    const RowStream rows = {partial.rows(), dim_, [&](const RowStream::Take& take) {
                              partial.read([&](const FeatureBatch& batch) {
                                if (!batch.embeddings.empty()) take(batch.embeddings);
                              });
                            }};
    if (job_.write_h5) write_clam_features(folder_.features_h5(id), rows, coords);
    if (job_.write_pt) write_torch_rows(folder_.features_pt(id), rows);
    if (job_.write_safetensors) write_safetensors_rows(folder_.features_safetensors(id), rows);

    if (const auto bad = outcome.dropped.find("unreadable"); bad != outcome.dropped.end()) {
      work.warnings.push_back(fmt::format(
          "{} of {} tiles could not be read and are left out", bad->second, outcome.tiles));
    }
    outcome.warnings.insert(outcome.warnings.end(), work.warnings.begin(), work.warnings.end());
    // The record comes last: a slide without one is not finished.
    Json record = {{"key", work.key},
                   {"slide_id", id},
                   {"tiles", outcome.tiles},
                   {"features", outcome.features},
                   {"dim", dim_},
                   {"slide",
                    {{"format", outcome.format},
                     {"mpp", outcome.mpp > 0 ? Json(outcome.mpp) : Json()},
                     {"mpp_source", outcome.mpp_source}}},
                   {"warnings", work.warnings},
                   {"encoder",
                    {{"name", encoder_.name},
                     {"trained", encoder_.trained},
                     {"weights_sha256", encoder_.weights_sha256},
                     {"options", encoder_.options},
                     {"engine", encoder_.engine.name()},
                     {"device", encoder_.engine.device},
                     {"precision", to_string(encoder_.encoder->precision())}}}};
    record["dropped"] = Json::object();
    for (const auto& [reason, n] : outcome.dropped) record["dropped"][reason] = n;
    record["files"] = Json::object();
    for (const auto& file : files_of(id)) {
      record["files"][fs::relative(file, folder_.root).generic_string()] = fs::file_size(file);
    }
    write_json(folder_.record(id), record);
    work.partial->remove();
    outcome.status = SlideStatus::kDone;
  }

  const std::vector<SlideItem>& slides_;
  std::vector<SlideOutcome> outcomes_;
  const SlideFolder& folder_;
  LoadedEncoder& encoder_;
  const ExtractJob& job_;
  Progress& progress_;
  std::size_t tile_bytes_;
  std::size_t dim_;
  std::string calibration_;  // hash of the tiles that int8 took its scales from
  Queue queue_;
  ExtractTimes times_;
  std::set<std::string> tiled_;  // file names of slides that were: without coordinates, no tissue
  std::mutex failing_;
  std::atomic<std::size_t> next_{0};
};

}  // namespace

std::vector<SlideOutcome> extract_slides(const std::vector<SlideItem>& slides,
                                         std::vector<SlideOutcome> tiled,
                                         const SlideFolder& folder,
                                         LoadedEncoder& encoder,
                                         const ExtractJob& job,
                                         Progress& progress) {
  job.stain.validate();
  job.quality.validate();
  if (job.batch < 1 || job.readers < 1 || !(job.max_bad_tiles >= 0 && job.max_bad_tiles <= 1)) {
    throw Error(ErrorKind::kUsage,
                "extraction needs a batch and readers of at least 1, and a share of unreadable "
                "tiles from 0 to 1");
  }
  if (!tiled.empty() && tiled.size() != slides.size()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} outcomes of tiling for {} slides", tiled.size(), slides.size()));
  }
  std::size_t total = 0;
  for (const auto& outcome : tiled) total += static_cast<std::size_t>(outcome.tiles);
  if (tiled.empty()) {
    tiled.resize(slides.size());
    for (std::size_t i = 0; i < slides.size(); ++i) tiled[i].slide_id = slides[i].slide_id;
  }
  progress.start("encoding tiles", total);
  return Extraction(slides, std::move(tiled), folder, encoder, job, progress).run();
}

}  // namespace med3d::pipeline
