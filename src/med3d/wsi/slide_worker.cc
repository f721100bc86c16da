#include "med3d/wsi/slide_worker.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "med3d/core/error.h"
#include "med3d/core/limits.h"

namespace med3d {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMostThings = 100'000;  // levels, properties, names

enum class Ask : std::uint8_t {
  kOpen,              // path, format -> SlideInfo
  kRegion,            // x, y, level, width, height, bytes -> pixels
  kAssociated,        // name -> width, height
  kAssociatedPixels,  // -> pixels of the last one
};

void put(MessageWriter& out, const SlideInfo& info) {
  out.text(info.format).value(static_cast<std::uint64_t>(info.levels.size()));
  for (const SlideLevel& level : info.levels) {
    out.value(level.width).value(level.height).value(level.downsample);
    out.value(level.tile_width).value(level.tile_height);
  }
  out.maybe(info.mpp_x).maybe(info.mpp_y).text(info.mpp_source).maybe(info.objective_power);
  out.value(static_cast<std::uint64_t>(info.associated.size()));
  for (const std::string& name : info.associated) out.text(name);
  out.value(static_cast<std::uint64_t>(info.properties.size()));
  for (const auto& [name, value] : info.properties) out.text(name).text(value);
}

SlideInfo get_info(MessageReader& in) {
  SlideInfo info;
  info.format = in.text();
  const auto side = static_cast<std::int64_t>(limits().image_side);
  for (auto n = in.count(kMostThings); n > 0; --n) {
    SlideLevel level;
    level.width = in.value<std::int64_t>();
    level.height = in.value<std::int64_t>();
    level.downsample = in.value<double>();
    level.tile_width = in.value<std::int64_t>();
    level.tile_height = in.value<std::int64_t>();
    if (std::min(level.width, level.height) < 1 || std::max(level.width, level.height) > side ||
        !std::isfinite(level.downsample) || level.downsample <= 0 ||
        std::min(level.tile_width, level.tile_height) < 0) {
      MessageReader::nonsense();
    }
    info.levels.push_back(level);
  }
  if (info.levels.empty()) MessageReader::nonsense();
  info.mpp_x = in.maybe<double>();
  info.mpp_y = in.maybe<double>();
  info.mpp_source = in.text();
  info.objective_power = in.maybe<double>();
  for (auto n = in.count(kMostThings); n > 0; --n) info.associated.push_back(in.text());
  for (auto n = in.count(kMostThings); n > 0; --n) {
    std::string name = in.text();
    info.properties[std::move(name)] = in.text();
  }
  in.end();
  return info;
}

// ---- in the worker

class SlideSession : public WorkerSession {
 public:
  void serve(MessageReader& request,
             std::span<std::uint8_t> shared,
             MessageWriter& answer) override {
    const auto ask = static_cast<Ask>(request.value<std::uint8_t>());
    if (ask == Ask::kOpen) {
      const fs::path path = request.text();
      slide_ = open_slide(path, request.text());
      put(answer, slide_->info());
      return;
    }
    if (!slide_) throw Error(ErrorKind::kUsage, "no slide is open");
    if (ask == Ask::kRegion) {
      const auto x = request.value<std::int64_t>();
      const auto y = request.value<std::int64_t>();
      const int level = request.value<int>();
      const auto width = request.value<std::int64_t>();
      const auto height = request.value<std::int64_t>();
      const auto bytes = request.value<std::uint64_t>();
      slide_->read_region(x, y, level, width, height, room(shared, bytes));
    } else if (ask == Ask::kAssociated) {
      associated_ = slide_->associated_image(request.text());
      answer.value(associated_.width).value(associated_.height);
    } else if (ask == Ask::kAssociatedPixels) {
      std::ranges::copy(associated_.pixels, room(shared, associated_.pixels.size()).begin());
      associated_ = {};
    }
  }

 private:
  static std::span<std::uint8_t> room(std::span<std::uint8_t> shared, std::uint64_t bytes) {
    if (shared.size() < bytes) throw std::bad_alloc();
    return shared.first(bytes);
  }

  std::unique_ptr<Slide> slide_;
  RgbImage associated_;
};

// ---- in the program that asks

class IsolatedSlide : public Slide {
 public:
  IsolatedSlide(std::unique_ptr<IsolatedSession> session,
                const fs::path& path,
                std::string_view format)
      : session_(std::move(session)) {
    const std::string bytes = session_->call(ask(Ask::kOpen).text(path.string()).text(format));
    try {
      MessageReader reader(bytes);
      info_ = get_info(reader);
    } catch (const Error&) {
      session_->nonsense();
    }
  }

  const SlideInfo& info() const override { return info_; }

  using Slide::read_region;
  void read_region(std::int64_t x,
                   std::int64_t y,
                   int level,
                   std::int64_t width,
                   std::int64_t height,
                   std::span<std::uint8_t> rgb) override {
    // A request that makes no sense is for the reader to refuse, in its own words.
    session_->call(ask(Ask::kRegion)
                       .value(x)
                       .value(y)
                       .value(level)
                       .value(width)
                       .value(height)
                       .value(static_cast<std::uint64_t>(rgb.size())),
                   rgb.size());
    if (!rgb.empty()) std::memcpy(rgb.data(), session_->shared().data(), rgb.size());
  }

  RgbImage associated_image(std::string_view name) override {
    const std::string bytes = session_->call(ask(Ask::kAssociated).text(name));
    std::int64_t width = 0;
    std::int64_t height = 0;
    const auto side = static_cast<std::int64_t>(limits().image_side);
    try {
      MessageReader reader(bytes);
      width = reader.value<std::int64_t>();
      height = reader.value<std::int64_t>();
      reader.end();
    } catch (const Error&) {
      session_->nonsense();
    }
    if (std::min(width, height) < 1 || std::max(width, height) > side ||
        static_cast<std::uint64_t>(3 * width * height) > limits().image_bytes) {
      session_->nonsense();
    }
    RgbImage image(width, height);
    session_->call(ask(Ask::kAssociatedPixels), image.pixels.size());
    std::memcpy(image.pixels.data(), session_->shared().data(), image.pixels.size());
    return image;
  }

 private:
  static MessageWriter ask(Ask what) {
    MessageWriter out;
    out.value(static_cast<std::uint8_t>(what));
    return out;
  }

  std::unique_ptr<IsolatedSession> session_;
  SlideInfo info_;
};

}  // namespace

extern const WorkerService slide_worker_service = {
    "slide", [] { return std::unique_ptr<WorkerSession>(std::make_unique<SlideSession>()); }};

std::unique_ptr<Slide> open_isolated_slide(const fs::path& path, std::string_view format) {
  auto session = IsolatedSession::start("slide", path.string());
  if (!session) return nullptr;
  return std::make_unique<IsolatedSlide>(std::move(session), path, format);
}

}  // namespace med3d
