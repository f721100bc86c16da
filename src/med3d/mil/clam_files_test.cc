#include "med3d/mil/clam_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>

#include "med3d/core/file.h"
#include "med3d/core/text.h"
#include "med3d/io/formats/csv.h"
#include "med3d/io/formats/npy.h"
#include "med3d/io/formats/torch_file.h"
#include "med3d/mil/clam_weights.h"
#include "med3d/mil/test_reference.inc"

namespace med3d::mil {
namespace {

using testing_mil::expect_error;

// 40 patients, every fourth with a second slide; classes "normal", "tumour" half and half.
ClamDataset dataset() {
  ClamDataset out;
  out.classes = {"normal", "tumour"};
  for (int i = 0; i < 40; ++i) {
    for (int slide = 0; slide <= (i % 4 == 0 ? 1 : 0); ++slide) {
      out.case_ids.push_back("p" + std::to_string(i));
      out.slide_ids.push_back("s" + std::to_string(i) + "-" + std::to_string(slide));
      out.labels.push_back(i % 2);
    }
  }
  return out;
}

TEST(ClamDataset, ReadsAndOrdersItsClasses) {
  const ClamDataset read =
      parse_clam_dataset("extra,label,slide_id,case_id\n1,10,a,x\n2,9,b,x\n3,10,c,y\n", "table");
  EXPECT_EQ(read.classes, (std::vector<std::string>{"9", "10"}));
  EXPECT_EQ(read.labels, (std::vector<int>{1, 0, 1}));
  EXPECT_EQ(read.case_ids, (std::vector<std::string>{"x", "x", "y"}));
  const ClamDataset again = parse_clam_dataset(clam_dataset_csv(read), "again");
  EXPECT_EQ(again.labels, read.labels);
  const ClamDataset named =
      parse_clam_dataset("case_id,slide_id,label\nx,a,n\ny,b,t\n", "table", {"t", "n"});
  EXPECT_EQ(named.labels, (std::vector<int>{1, 0}));
  const auto refused = [](const std::string& rows, const std::vector<std::string>& classes = {}) {
    return [rows, classes] {
      parse_clam_dataset("case_id,slide_id,label\n" + rows, "table", classes);
    };
  };
  expect_error(ErrorKind::kData, "line 3: a slide that stands", refused("x,a,0\ny,a,1\n"));
  expect_error(ErrorKind::kData, "line 2: a blank", refused("x,,0\ny,a,1\n"));
  expect_error(ErrorKind::kData, "one label only", refused("x,a,0\ny,b,0\n"));
  expect_error(ErrorKind::kData, "label '2', expected one of 0, 1", refused("x,a,2\n", {"0", "1"}));
  expect_error(ErrorKind::kNotFound, "label", [] {
    parse_clam_dataset("case_id,slide_id\nx,a\n", "table");
  });
}

TEST(ClamSplits, KeepPatientsTogetherAndClassesInShape) {
  const ClamDataset all = dataset();
  SplitOptions options;
  options.val_frac = options.test_frac = 0.2;
  const std::vector<ClamSplit> splits = make_clam_splits(all, options);
  ASSERT_EQ(splits.size(), 10U);
  std::set<std::vector<std::size_t>> tests;
  for (const ClamSplit& split : splits) {
    std::map<std::string, std::set<int>> sides;
    std::size_t slides = 0;
    int side = 0;
    for (const auto* rows : {&split.train, &split.val, &split.test}) {
      for (const std::size_t row : *rows) sides[all.case_ids[row]].insert(side);
      slides += rows->size();
      ++side;
    }
    EXPECT_EQ(slides, all.slide_ids.size());
    for (const auto& [name, found] : sides) EXPECT_EQ(found.size(), 1U);
    // 20 patients a class, 0.2 of them: 4 of each in val and in test.
    for (const auto* rows : {&split.val, &split.test}) {
      std::set<std::string> of[2];
      for (const std::size_t row : *rows) of[all.labels[row]].insert(all.case_ids[row]);
      EXPECT_EQ(of[0].size(), 4U);
      EXPECT_EQ(of[1].size(), 4U);
    }
    tests.insert(split.test);
  }
  EXPECT_GT(tests.size(), 5U);  // drawn anew each time
  EXPECT_EQ(make_clam_splits(all, options), splits);
  options.label_frac = 0.5;  // of 12 patients a class, 6 are left; val and test stay as they were
  const ClamSplit half = make_clam_splits(all, options)[0];
  EXPECT_EQ(half.test, splits[0].test);
  std::set<std::string> left;
  for (const std::size_t row : half.train) left.insert(all.case_ids[row]);
  EXPECT_EQ(left.size(), 12U);
  options.val_frac = 0.6;
  options.test_frac = 0.5;
  expect_error(ErrorKind::kUsage, "some must train", [&] { make_clam_splits(all, options); });
  ClamDataset few = all;
  few.classes.push_back("rare");
  few.labels[2] = 2;
  expect_error(ErrorKind::kData, "class 'rare' has 1 patients", [&] {
    make_clam_splits(few, SplitOptions{});
  });
}

// A patient with slides 0, 0, 1: of class 1 by the maximum, of class 0 by the majority.
TEST(ClamSplits, VoteForThePatientsLabel) {
  ClamDataset all = dataset();
  for (const int label : {0, 0, 1}) {
    all.case_ids.push_back("odd");
    all.slide_ids.push_back("odd" + std::to_string(all.slide_ids.size()));
    all.labels.push_back(label);
  }
  SplitOptions options;
  options.k = 1;
  options.val_frac = 0.0;
  options.test_frac = 0.5;  // of 21 and 20 patients: 11 (10.5 away from 0) and 10
  for (const PatientVoting voting : {PatientVoting::kMax, PatientVoting::kMajority}) {
    options.voting = voting;
    std::set<std::string> tested[2];
    const std::vector<ClamSplit> splits = make_clam_splits(all, options);
    for (const std::size_t row : splits[0].test) {
      const bool odd = all.case_ids[row] == "odd";
      const bool positive = odd ? voting == PatientVoting::kMax : all.labels[row] == 1;
      tested[positive ? 1 : 0].insert(all.case_ids[row]);
    }
    EXPECT_EQ(tested[voting == PatientVoting::kMax ? 1 : 0].size(), 11U);
    EXPECT_EQ(tested[voting == PatientVoting::kMax ? 0 : 1].size(), 10U);
  }
}

TEST(ClamSplits, AreWrittenAndReadAsClamDoes) {
  const ClamDataset all =
      parse_clam_dataset("case_id,slide_id,label\nx,a,n\nx,b,n\ny,c,t\nz,d,t\n", "table");
  const ClamSplit split{{0, 1}, {2}, {3}};
  EXPECT_EQ(clam_split_csv(all, split), ",train,val,test\n0,a,c,d\n1,b,,\n");
  EXPECT_EQ(clam_split_bool_csv(all, split),
            ",train,val,test\na,True,False,False\nb,True,False,False\nc,False,True,False\n"
            "d,False,False,True\n");
  EXPECT_EQ(clam_split_descriptor_csv(all, split), ",train,val,test\nn,2,0,0\nt,0,1,1\n");
  EXPECT_EQ(parse_clam_split(clam_split_csv(all, split), "s", all), split);
  EXPECT_EQ(parse_clam_split(clam_split_bool_csv(all, split), "s", all), split);
  EXPECT_EQ(clam_split_folder("task_1", 1.0), "splits/task_1_100");
  expect_error(ErrorKind::kNotFound, "line 2, val: a slide that is not", [&] {
    parse_clam_split(",train,val,test\n0,a,e,d\n", "s", all);
  });
  expect_error(ErrorKind::kData, "is in train already", [&] {
    parse_clam_split(",train,val,test\n0,a,c,a\n", "s", all);
  });
  expect_error(ErrorKind::kData, "line 2, test: a patient with another slide in train", [&] {
    parse_clam_split(",train,val,test\n0,a,c,b\n", "s", all);
  });
  expect_error(
      ErrorKind::kNotFound, "val", [&] { parse_clam_split(",train,test\n0,a,b\n", "s", all); });
}

BagPrediction said(std::size_t row, int label, double p1) {
  BagPrediction out;
  out.row = row;
  out.target.label = label;
  out.probabilities = {1.0 - p1, p1};
  out.predicted = p1 > 0.5 ? 1 : 0;
  return out;
}

// Pairs (positive, negative) by p_1: 0.9 and 0.4 against 0.2 and 0.6: three of four in order.
TEST(ClamSummary, HoldsFiguresWithIntervalsAndSaysWhereThereAreNone) {
  const ClamDataset all = dataset();
  const std::vector<BagPrediction> test = {
      said(0, 1, 0.9), said(1, 0, 0.2), said(2, 1, 0.4), said(3, 0, 0.6)};
  const std::vector<BagPrediction> val = {said(4, 1, 0.75)};
  EXPECT_EQ(clam_fold_csv(all, val),
            "slide_id,Y,Y_hat,p_0,p_1\n" + all.slide_ids[4] + ",1,1,0.25,0.75\n");
  const FoldSummary fold = summarise_fold(3, val, test);
  EXPECT_DOUBLE_EQ(fold.test_auc.value, 0.75);
  EXPECT_TRUE(fold.test_auc.has_interval());
  EXPECT_DOUBLE_EQ(fold.test_acc.value, 0.5);
  EXPECT_FALSE(fold.val_auc.ok());
  const std::string csv = clam_summary_csv(std::vector<FoldSummary>{fold});
  const Table table = parse_table(csv, "summary");
  EXPECT_EQ(table.rows[0][table.column("folds")], "3");
  EXPECT_EQ(table.rows[0][table.column("test_auc")], "0.75");
  EXPECT_EQ(table.rows[0][table.column("val_auc")], "");
  EXPECT_EQ(table.rows[0][table.column("val_auc_low")], "");
  EXPECT_EQ(table.rows[0][table.column("n_test")], "4");
  EXPECT_NE(table.rows[0][table.column("not_estimable")].find("val_auc: "), std::string::npos);
  EXPECT_FALSE(bag_auc({}).ok());
}

// ---- Checkpoints

ClamOptions tiny() {
  ClamOptions options;
  options.embed_dim = 6;
  options.hidden_dim = 8;
  options.attention_dim = 5;
  options.k_sample = 3;
  options.precision = Arithmetic::kF32;
  return options;
}

TEST(ClamWeights, TellTheNetByItsShapes) {
  for (const ModelType type : {ModelType::kClamSb,
                               ModelType::kClamMb,
                               ModelType::kMil,
                               ModelType::kAbmil,
                               ModelType::kMean,
                               ModelType::kMax}) {
    for (const bool gated : {true, false}) {
      for (const double drop_out : {0.0, 0.25}) {
        ClamOptions options = tiny();
        options.model_type = type;
        options.gated = gated;
        options.drop_out = drop_out;
        options.n_classes = 3;
        const Clam net(options);
        ClamOptions base;
        base.model_type = type == ModelType::kMax ? type : ModelType::kClamSb;
        base.drop_out = drop_out;
        const Clam read =
            clam_of(parse_state_dict(clam_checkpoint_bytes(net), "ours"), base, "ours");
        EXPECT_EQ(read.options().model_type, type);
        EXPECT_EQ(read.options().n_classes, 3U);
        if (options.has_attention()) {
          EXPECT_EQ(read.options().gated, gated);
          EXPECT_EQ(read.options().attention(), 5U);
        }
        EXPECT_TRUE(std::equal(
            net.parameters().begin(), net.parameters().end(), read.parameters().begin()));
        EXPECT_EQ(clam_checkpoint_bytes(read), clam_checkpoint_bytes(net));
      }
    }
  }
}

TEST(ClamWeights, RefuseWhatIsNoNet) {
  const Clam net(tiny());
  std::vector<NamedArray> state = clam_state(net);
  const auto refused = [](std::vector<NamedArray> changed) {
    return [changed] { clam_of(changed, {}, "file"); };
  };
  auto missing = state;
  missing.erase(missing.begin() + 1);
  expect_error(ErrorKind::kFormat, "no 'attention_net.0.bias'", refused(missing));
  auto strange = state;
  strange.push_back(state[0]);
  strange.back().name = "head.weight";
  expect_error(ErrorKind::kFormat, "'head.weight' belongs to no part", refused(strange));
  auto turned = state;
  std::swap(turned[2].array.shape[0], turned[2].array.shape[1]);
  expect_error(ErrorKind::kFormat, "has shape", refused(turned));
  auto infinite = state;
  infinite[1].array.bytes.replace(0, 4, std::string("\x00\x00\x80\x7f", 4));
  expect_error(ErrorKind::kData, "file: weights: attention_net.0.bias", refused(infinite));
  expect_error(ErrorKind::kFormat, "no 'attention_net.0.weight'", refused({}));
  auto dropped = state;
  dropped.push_back({"instance_loss_fn.labels", {{2}, DType::kI64, std::string(16, '\0')}});
  EXPECT_NO_THROW(refused(dropped)());
}

// PyTorch opens our checkpoint and trains the same net in double, ten slides with Adam: where we
// end must be where it ends.
TEST(ClamWeights, TorchLoadsThemAndTrainsToTheSameWeights) {
  const std::string python = testing_mil::python_with_torch();
  if (python.empty()) GTEST_SKIP() << "NO PYTHON WITH TORCH: set MED3D_TEST_PYTHON to compare";
  const testing_mil::TemporaryFolder folder;
  const auto path = [&](const std::string& name) { return (folder / name).string(); };
  std::ofstream(folder / "check.py") << R"(
import sys, math, numpy as np, torch
from torch.nn import functional as F
folder, names = sys.argv[1], sys.argv[2:]
bags = [torch.from_numpy(np.load(f'{folder}/bag{i}.npy')).double() for i in range(5)]

def svm(x, y):
    best = torch.topk(x, 2, dim=1)[0]
    hard = best[:, 0] - best[:, 1] >= math.log(1000.0)
    margin = x + 1.0 - F.one_hot(y, x.shape[1]) - x.gather(1, y[:, None])
    return torch.where(hard, margin.max(1)[0], torch.logsumexp(margin, 1)).mean()

for name in names:
    kind, gate, loss, sub, classes = name.split('-')
    classes, sub, k = int(classes), sub == 'sub', 3
    p = {key: value.double().requires_grad_() for key, value in torch.load(f'{folder}/{name}.pt').items()}
    optimiser = torch.optim.Adam(p.values(), lr=1e-2, weight_decay=1e-3)
    inst_loss = svm if loss == 'svm' else F.cross_entropy
    for step in range(10):
        bag, label = bags[step % 5], step * 7 % classes
        a = 'attention_net.'
        h = F.relu(F.linear(bag, p[a + '0.weight'], p[a + '0.bias']))
        if gate == 'gated':
            g = torch.tanh(F.linear(h, p[a + '3.attention_a.0.weight'], p[a + '3.attention_a.0.bias']))
            g = g * torch.sigmoid(F.linear(h, p[a + '3.attention_b.0.weight'], p[a + '3.attention_b.0.bias']))
            raw = F.linear(g, p[a + '3.attention_c.weight'], p[a + '3.attention_c.bias']).T
        else:
            g = torch.tanh(F.linear(h, p[a + '3.module.0.weight'], p[a + '3.module.0.bias']))
            raw = F.linear(g, p[a + '3.module.2.weight'], p[a + '3.module.2.bias']).T
        A = torch.softmax(raw, 1)
        M = A @ h
        if kind == 'clam_sb':
            logits = F.linear(M, p['classifiers.weight'], p['classifiers.bias'])
        else:
            logits = torch.cat([F.linear(M[c:c+1], p[f'classifiers.{c}.weight'], p[f'classifiers.{c}.bias']) for c in range(classes)], 1)
        instance = 0.0
        for c in range(classes):
            if c != label and not sub:
                continue
            row = A[0] if kind == 'clam_sb' else A[c]
            top, low = torch.topk(row, k)[1], torch.topk(-row, k)[1]
            w, b = p[f'instance_classifiers.{c}.weight'], p[f'instance_classifiers.{c}.bias']
            if c == label:
                x, y = F.linear(h[torch.cat([top, low])], w, b), torch.tensor([1] * k + [0] * k)
            else:
                x, y = F.linear(h[top], w, b), torch.tensor([0] * k)
            instance = instance + inst_loss(x, y)
        if sub:
            instance = instance / classes
        total = 0.7 * F.cross_entropy(logits, torch.tensor([label])) + 0.3 * instance
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        optimiser.step()
    torch.save({key: value.detach().float() for key, value in p.items()}, f'{folder}/{name}.out.pt')
)";
  std::vector<Matrix<float>> bags;
  for (int i = 0; i < 5; ++i) {
    bags.push_back(testing_mil::drawn_bag(
        20 + static_cast<std::size_t>(i) * 40, 6, 40U + static_cast<std::uint32_t>(i)));
    write_file_atomic(folder / ("bag" + std::to_string(i) + ".npy"), npy_bytes(bags.back()));
  }
  const std::vector<std::string> names = {"clam_sb-gated-svm-plain-2",
                                          "clam_sb-plain-ce-sub-3",
                                          "clam_mb-gated-ce-plain-2",
                                          "clam_mb-plain-svm-sub-3"};
  std::vector<Clam> nets;
  for (const std::string& name : names) {
    const std::vector<std::string> part = split(name, '-');
    ClamOptions options = tiny();
    options.model_type = model_type_of(part[0]);
    options.gated = part[1] == "gated";
    options.inst_loss = instance_loss_of(part[2]);
    options.subtyping = part[3] == "sub";
    options.n_classes = static_cast<std::size_t>(part[4][0] - '0');
    options.drop_out = 0.0;
    options.lr = 1e-2;
    options.reg = 1e-3;
    nets.emplace_back(options);
    write_file_atomic(folder / (name + ".pt"), clam_checkpoint_bytes(nets.back()));
  }
  const std::string command = "OMP_NUM_THREADS=1 " + python + " '" + path("check.py") + "' '" +
                              path(".") + "' " + join(names, " ");
  ASSERT_EQ(std::system(command.c_str()), 0);
  for (std::size_t i = 0; i < names.size(); ++i) {
    Clam& net = nets[i];
    for (int step = 0; step < 10; ++step) {
      const Target target{step * 7 % static_cast<int>(net.options().n_classes), false};
      net.train_step(testing_mil::view_of(bags[static_cast<std::size_t>(step % 5)]), target, 0);
    }
    const Clam expected = read_clam(folder / (names[i] + ".out.pt"), net.options());
    double worst = 0.0;
    for (std::size_t j = 0; j < net.parameters().size(); ++j) {
      worst = std::max(
          worst, std::abs(static_cast<double>(net.parameters()[j] - expected.parameters()[j])));
    }
    EXPECT_LT(worst, 1e-5) << names[i];
  }
}

}  // namespace
}  // namespace med3d::mil
