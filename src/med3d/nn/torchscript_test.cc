// Programs are written by Python's torch, which must be there (Debian: python3-torch).
#include "med3d/nn/torchscript.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "med3d/core/error.h"
#include "med3d/nn/internal/torch_loader.h"

namespace med3d::nn {
namespace {

namespace fs = std::filesystem;

constexpr char kWritePrograms[] = R"(
import math, os, sys, zipfile
import torch
from typing import Tuple
folder = sys.argv[1]
torch.set_num_threads(1)
torch.manual_seed(0)

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.drop = torch.nn.Dropout(0.5)
        self.out = torch.nn.Linear(8, 5)
    def forward(self, x):
        h = torch.relu(self.norm(self.conv(x)))
        return self.out(self.drop(h.mean(dim=[2, 3])))

class First(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net
    def forward(self, x) -> Tuple[torch.Tensor, torch.Tensor]:
        return self.net(x), x

def program(body, annotation='torch.Tensor'):
    namespace = {'torch': torch}
    text = 'class P(torch.nn.Module):\n    def forward(self, x: torch.Tensor) -> %s:\n        %s\n'
    path = os.path.join(folder, 'p.py')
    open(path, 'w').write('import torch\nfrom typing import *\n' + text % (annotation, body))
    import importlib.util
    spec = importlib.util.spec_from_file_location('p', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return torch.jit.script(module.P())

net = Net()
net.norm.running_mean.uniform_(-1, 1)
net.norm.running_var.uniform_(0.5, 2)
x = torch.tensor([math.sin(0.37 * i) for i in range(2 * 3 * 10 * 12)]).reshape(2, 3, 10, 12)
save = lambda module, name: torch.jit.save(module, os.path.join(folder, name))
save(torch.jit.script(net), 'scripted.pt')          # in training mode, as users forget
save(torch.jit.trace(net.eval(), x), 'traced.pt')
save(torch.jit.script(First(net)), 'tuple.pt')
with torch.no_grad():
    open(os.path.join(folder, 'expected.txt'), 'w').write(
        ' '.join('%.9g' % v for v in net(x).flatten().tolist()))
save(program('return x'), 'map.pt')
save(program('return x.flatten(1).double()'), 'double.pt')
save(program('return "text"', 'str'), 'text.pt')
save(program('return x.flatten(1).narrow(0, 0, 1)'), 'rows.pt')
save(program('return x.flatten(1) * float("nan")'), 'nan.pt')
save(program('return x.flatten(1).mm(torch.ones(7, 2))'), 'fails.pt')
save(program('x.zero_(); return x.flatten(1)'.replace('; ', '\n        ')), 'in_place.pt')
save(program('torch.save(x, "%s"); return x.flatten(1)'.replace('; ', '\n        ')
             % os.path.join(folder, 'written_by_program')), 'writes.pt')
torch.save(net.state_dict(), os.path.join(folder, 'state_dict.pt'))

# A TorchScript file whose data.pkl calls os.system when a Python unpickler reads it.
evil = b"\x80\x02cos\nsystem\nX%s\x85R." % (
    lambda c: len(c).to_bytes(4, 'little') + c)(
    ('touch ' + os.path.join(folder, 'executed')).encode())
import pickletools
pickletools.dis(evil, out=open(os.devnull, 'w'))
with zipfile.ZipFile(os.path.join(folder, 'map.pt')) as old, \
     zipfile.ZipFile(os.path.join(folder, 'pickle.pt'), 'w', zipfile.ZIP_STORED) as new:
    for item in old.infolist():
        data = old.read(item)
        new.writestr(item.filename, evil if item.filename.endswith('/data.pkl') else data)
)";

class TorchScript : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = fs::temp_directory_path() / ("med3d-torchscript-" + std::to_string(getpid()));
    fs::create_directories(folder_);
    std::ofstream(folder_ / "write.py") << kWritePrograms;
    const std::string python = "/usr/bin/python3 ";
    if (std::system((python + "-c 'import torch' > " + path("log") + " 2>&1").c_str()) != 0) return;
    has_python_ = true;
    written_ = std::system((python + path("write.py") + " " + folder_.string() + " > " +
                            path("log") + " 2>&1")
                               .c_str()) == 0;
  }
  static void TearDownTestSuite() { fs::remove_all(folder_); }

  void SetUp() override {
    if (!has_python_) GTEST_SKIP() << "no torch in /usr/bin/python3: install python3-torch";
    std::ifstream log(path("log"));
    ASSERT_TRUE(written_) << std::string(std::istreambuf_iterator<char>(log), {});
  }

  static std::string path(const std::string& name) { return (folder_ / name).string(); }

  static TorchScriptModule load(const std::string& name, int threads = 1) {
    return TorchScriptModule::load(folder_ / name, DeviceKind::kCpu, threads);
  }

  // sin(0.37 i), as the programs' writer has it.
  static std::vector<float> tiles() {
    std::vector<float> x(2 * 3 * 10 * 12);
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = static_cast<float>(std::sin(0.37 * static_cast<double>(i)));
    }
    return x;
  }
  static Matrix<float> forward(const std::string& name, int threads = 1) {
    const std::vector<float> x = tiles();
    return load(name, threads).forward(x, 2, 3, 10, 12);
  }
  static std::string message(const std::string& name, ErrorKind kind) {
    try {
      forward(name);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      return error.what();
    }
    return "no error";
  }

  static fs::path folder_;
  static bool has_python_;
  static bool written_;
};
fs::path TorchScript::folder_;
bool TorchScript::has_python_ = false;
bool TorchScript::written_ = false;

TEST_F(TorchScript, ComputesWhatPythonDoes) {
  std::vector<float> expected(2 * 5);
  std::ifstream file(path("expected.txt"));
  for (float& value : expected) ASSERT_TRUE(file >> value);
  for (const char* name : {"scripted.pt", "traced.pt", "tuple.pt"}) {
    for (const int threads : {1, 2}) {
      SCOPED_TRACE(name);
      const Matrix<float> found = forward(name, threads);
      ASSERT_EQ(found.rows(), 2U);
      ASSERT_EQ(found.cols(), 5U);
      for (std::size_t i = 0; i < found.size(); ++i) {
        EXPECT_NEAR(found.data()[i], expected[i], 1e-6);
      }
    }
  }
}

TEST_F(TorchScript, ComputesTheSameAtEveryCall) {
  const TorchScriptModule module = load("scripted.pt");
  const std::vector<float> x = tiles();
  const Matrix<float> first = module.forward(x, 2, 3, 10, 12);
  for (int call = 0; call < 4; ++call) {
    const Matrix<float> again = module.forward(x, 2, 3, 10, 12);
    for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(again.data()[i], first.data()[i]);
  }
}

TEST_F(TorchScript, LeavesItsInputAlone) {
  const std::vector<float> x = tiles();
  EXPECT_EQ(load("in_place.pt").forward(x, 2, 3, 10, 12)(1, 7), 0.0F);
  EXPECT_EQ(x, tiles());
}

TEST_F(TorchScript, HandsNanToTheCaller) { EXPECT_TRUE(std::isnan(forward("nan.pt")(0, 0))); }

TEST_F(TorchScript, RefusesAnOutputThatIsNoEmbedding) {
  const std::string expected = ", expected a float tensor (2, d), or a tuple that begins with one";
  EXPECT_EQ(message("map.pt", ErrorKind::kData),
            "map.pt: the program returned (2, 3, 10, 12) of float" + expected);
  EXPECT_EQ(message("double.pt", ErrorKind::kData),
            "double.pt: the program returned (2, 360) of double" + expected);
  EXPECT_EQ(message("rows.pt", ErrorKind::kData),
            "rows.pt: the program returned (1, 360) of float" + expected);
  EXPECT_EQ(message("text.pt", ErrorKind::kData),
            "text.pt: the program returned String" + expected);
}

TEST_F(TorchScript, SaysWhyAProgramFailedInOneLine) {
  const std::string text = message("fails.pt", ErrorKind::kData);
  EXPECT_TRUE(text.starts_with("fails.pt: the program failed: ")) << text;
  EXPECT_NE(text.find("2x360 and 7x2"), std::string::npos) << text;
  EXPECT_EQ(text.find('\n'), std::string::npos) << text;
}

TEST_F(TorchScript, RefusesWhatIsNoProgram) {
  EXPECT_NE(message("state_dict.pt", ErrorKind::kFormat)
                .find("state_dict.pt: not a TorchScript program that LibTorch can load: "),
            std::string::npos);
  EXPECT_EQ(message("missing.pt", ErrorKind::kNotFound), path("missing.pt") + ": no such file");
  EXPECT_EQ(message(".", ErrorKind::kFormat), path(".") + ": not a regular file");
  std::ofstream(path("empty.pt")).close();
  EXPECT_NE(message("empty.pt", ErrorKind::kFormat).find("not a TorchScript program"),
            std::string::npos);
  const std::string all = [&] {
    std::ifstream file(path("scripted.pt"), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }();
  std::ofstream(path("cut.pt"), std::ios::binary) << all.substr(0, all.size() / 2);
  EXPECT_NE(message("cut.pt", ErrorKind::kFormat).find("not a TorchScript program"),
            std::string::npos);
}

// The header's two statements about trust.
TEST_F(TorchScript, DoesNotExecuteAPickle) {
  const std::string text = message("pickle.pt", ErrorKind::kFormat);
  EXPECT_NE(text.find("system"), std::string::npos) << text;
  EXPECT_FALSE(fs::exists(path("executed")));
}
TEST_F(TorchScript, IsAProgramThatMayWriteFiles) {
  forward("writes.pt");
  EXPECT_TRUE(fs::exists(path("written_by_program")));
}

TEST_F(TorchScript, RefusesTilesOfAnotherSize) {
  const TorchScriptModule module = load("scripted.pt");
  const std::vector<float> x(10);
  try {
    module.forward(x, 1, 3, 2, 2);
    FAIL() << "expected an Error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "10 values, expected 1 x 3 x 2 x 2, and at least one tile");
  }
  EXPECT_THROW(module.forward({}, 0, 3, 2, 2), Error);
  EXPECT_THROW(load("scripted.pt", 0), Error);
}

// A program's threads must not stay for the fits that follow on this thread.
TEST_F(TorchScript, PutsTheNumberOfThreadsBack) {
  forward("scripted.pt", 2);
  EXPECT_EQ(torch().threads(), 1);
}

}  // namespace
}  // namespace med3d::nn
