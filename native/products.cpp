// Products of rows with weights that were packed once, for float32 on a CPU. A general product packs its
// right side every time, which for the few rows of a decode step costs a tenth of it, and what comes
// before and after takes passes of its own; here these are a factor and a few sums of the same pass.
#include "kernels.h"

#include <vector>

namespace vigorl {

namespace {

// Weights come in panels of 32 columns, [1 + K, 32] each: the biases, then K rows.
constexpr int64_t kPanel = 2 * kLanes;

struct Product {
  const float* x;         // [M, K]
  const float* panels;    // [N / 32, 1 + K, 32]
  const float* scales;    // [M] factors of the rows of x, or null
  const float* residual;  // [M, width], added, or null
  float* y;               // [M, width]
  int64_t num_rows, depth, width;
  bool gated;  // a panel holds sixteen gates and their sixteen ups
};

// `Rows` rows from `row` on times one panel.
template <int Rows>
VIGORL_INLINE void tile(const Product& p, const float* panel, int64_t row, int64_t column) {
  Floats sums[Rows][2] = {};
  const float *x = p.x + row * p.depth, *weights = panel + kPanel;
  for (int64_t k = 0; k < p.depth; k++, weights += kPanel) {
    Floats low, high;
    load(low, weights);
    load(high, weights + kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++) {
      const float value = x[r * p.depth + k];
      sums[r][0] += value * low;
      sums[r][1] += value * high;
    }
  }
  Floats low, high;
  load(low, panel);
  load(high, panel + kLanes);
  const int64_t rest = p.width - column;
#pragma GCC unroll 8
  for (int r = 0; r < Rows; r++) {
    const float scale = p.scales == nullptr ? 1.0f : p.scales[row + r];
    Floats first = sums[r][0] * scale + low, second = sums[r][1] * scale + high, other;
    const int64_t at = (row + r) * p.width + column;
    if (p.gated) {
      Floats open = first;
      sigmoid(open);
      first *= open * second;
    }
    if (p.residual != nullptr) {
      load(other, p.residual + at, rest);
      first += other;
    }
    store(p.y + at, first, rest);
    if (p.gated || rest <= kLanes) continue;
    if (p.residual != nullptr) {
      load(other, p.residual + at + kLanes, rest - kLanes);
      second += other;
    }
    store(p.y + at + kLanes, second, rest - kLanes);
  }
}

// Panels begin … end, `Most` rows at a time: as many as registers hold the sums of.
template <int Most>
VIGORL_INLINE void panels(const Product& p, int64_t begin, int64_t end) {
  for (int64_t n = begin; n < end; n++) {
    const float* panel = p.panels + n * (1 + p.depth) * kPanel;
    const int64_t column = n * (p.gated ? kLanes : kPanel);
    int64_t row = 0;
    for (; row + Most <= p.num_rows; row += Most) tile<Most>(p, panel, row, column);
    if constexpr (Most > 4) {
      for (; row + 4 <= p.num_rows; row += 4) tile<4>(p, panel, row, column);
    }
    for (; row + 2 <= p.num_rows; row += 2) tile<2>(p, panel, row, column);
    for (; row < p.num_rows; row++) tile<1>(p, panel, row, column);
  }
}

// Where registers are wide and many, and where they are not.
VIGORL_KERNEL void wide_panels(const Product& p, int64_t begin, int64_t end) { panels<8>(p, begin, end); }
VIGORL_KERNEL void narrow_panels(const Product& p, int64_t begin, int64_t end) { panels<2>(p, begin, end); }

VIGORL_KERNEL void norm_scales(const float* x, float* scales, int64_t num_rows, int64_t width, float eps) {
  for (int64_t row = 0; row < num_rows; row++) scales[row] = norm_scale(x + row * width, width, eps);
}

at::Tensor packed_linear(const at::Tensor& x_any, const at::Tensor& weights, int64_t width,
                         const optional<at::Tensor>& residual_any, optional<double> norm_eps, bool gated) {
  const at::Tensor x = checked(x_any, "x");
  TORCH_CHECK(weights.device().is_cpu() && weights.scalar_type() == at::kFloat && weights.is_contiguous() &&
                  weights.dim() == 3 && weights.size(2) == kPanel,
              "the weights must be packed, [panels, 1 + K, 32] float32 on the CPU");
  const int64_t depth = weights.size(1) - 1, per_panel = gated ? kLanes : kPanel;
  TORCH_CHECK(x.dim() == 2 && x.size(1) == depth, "x must be [M, ", depth, "]");
  const int64_t columns = weights.size(0) * per_panel;
  TORCH_CHECK(width >= 0 && width <= columns && columns - width < per_panel, weights.size(0),
              " panels do not hold ", width, " columns");
  const int64_t num_rows = x.size(0);
  at::Tensor residual;
  if (residual_any.has_value() && residual_any->defined()) {
    residual = checked(*residual_any, "the residual");
    TORCH_CHECK(residual.dim() == 2 && residual.size(0) == num_rows && residual.size(1) == width,
                "the residual must be [", num_rows, ", ", width, "]");
  }
  at::Tensor y = at::empty({num_rows, width}, x.options());
  std::vector<float> scales;
  if (norm_eps.has_value()) {
    scales.resize(static_cast<size_t>(num_rows));
    norm_scales(x.data_ptr<float>(), scales.data(), num_rows, depth, static_cast<float>(*norm_eps));
  }
  const Product product{x.data_ptr<float>(),
                        weights.data_ptr<float>(),
                        norm_eps.has_value() ? scales.data() : nullptr,
                        residual.defined() ? residual.data_ptr<float>() : nullptr,
                        y.data_ptr<float>(),
                        num_rows,
                        depth,
                        width,
                        gated};
  static const auto run = has_wide_registers() ? wide_panels : narrow_panels;
  constexpr int64_t worth_a_thread = 1 << 19;
  const int64_t grain = 1 + worth_a_thread / std::max<int64_t>(1, num_rows * depth * kPanel);
  at::parallel_for(0, weights.size(0), grain,
                   [&](int64_t begin, int64_t end) { run(product, begin, end); });
  return y;
}

TORCH_LIBRARY_FRAGMENT(vigorl, library) {
  library.def(
      "packed_linear(Tensor x, Tensor weights, int width, Tensor? residual, float? norm_eps, bool gated) "
      "-> Tensor");
}

TORCH_LIBRARY_IMPL(vigorl, CPU, library) { library.impl("packed_linear", packed_linear); }

TORCH_LIBRARY_IMPL(vigorl, AutogradCPU, library) {
  library.impl("packed_linear", torch::CppFunction::makeFromBoxedFunction<&refuse_gradients>());
}

}  // namespace

}  // namespace vigorl
