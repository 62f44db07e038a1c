// Products of few rows with bfloat16 weights as they lie in memory, mapped files among them, on a CPU:
// the weights are read once, in order, and widened on the way, so that a decode step is as fast as memory
// is. Rows and sums are float32. A row's bits do not depend on how many rows there are.
#include "kernels.h"

#include <vector>

namespace vigorl {

namespace {

typedef uint16_t Halves __attribute__((vector_size(32)));
typedef uint32_t Words __attribute__((vector_size(64)));

// Rows of weights at work at a time, how many of x, and how many weights ahead of them memory is asked for.
constexpr int64_t kTile = 4, kBlock = 8, kAhead = 2048;

// Rows of one matrix, and where in y their outputs go.
struct Matrix {
  const uint16_t* weights;  // [num_rows, K]
  int64_t num_rows, first;
};

struct HalfProduct {
  const float* x;          // [M, K]
  const float* biases;     // [N], or null
  const int32_t* columns;  // [N], where an output stands in a row of y, or null: in order
  float* y;                // [M, N]
  int64_t num_rows, depth, width;
};

// The first `count` of sixteen, all where there are more; the others are zero.
VIGORL_INLINE void widen(Floats& to, const uint16_t* from, int64_t count) {
  Halves halves{};
  if (__builtin_expect(count >= kLanes, 1)) {
    std::memcpy(&halves, from, sizeof(Halves));
  } else {
    for (int64_t i = 0; i < count; i++) halves[i] = from[i];
  }
  to = (Floats)(__builtin_convertvector(halves, Words) << 16);
}

// `Outputs` rows of weights times `Rows` rows of x, each sum in sixteen lanes.
template <int Outputs, int Rows>
VIGORL_INLINE void half_tile(const HalfProduct& p, const Matrix& matrix, int64_t output, int64_t row) {
  Floats sums[Outputs][Rows] = {};
  Floats weights[Outputs], a;
  const uint16_t* from = matrix.weights + output * p.depth;
  const float* x = p.x + row * p.depth;
  // One place for all products: elsewhere the compiler might round them in another way.
  for (int64_t k = 0; k < p.depth; k += kLanes) {
#pragma GCC unroll 8
    for (int n = 0; n < Outputs; n++) {
      widen(weights[n], from + n * p.depth + k, p.depth - k);
      if ((k & kLanes) == 0) __builtin_prefetch(from + n * p.depth + k + kAhead);
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++) {
      load(a, x + r * p.depth + k, p.depth - k);
#pragma GCC unroll 8
      for (int n = 0; n < Outputs; n++) sums[n][r] += weights[n] * a;
    }
  }
#pragma GCC unroll 8
  for (int n = 0; n < Outputs; n++) {
    const int64_t at = matrix.first + output + n;
    const float bias = p.biases == nullptr ? 0.0f : p.biases[at];
    const int64_t column = p.columns == nullptr ? at : p.columns[at];
#pragma GCC unroll 8
    for (int r = 0; r < Rows; r++) p.y[(row + r) * p.width + column] = sum(sums[n][r]) + bias;
  }
}

template <int Outputs>
VIGORL_INLINE void half_rows(const HalfProduct& p, const Matrix& matrix, int64_t begin, int64_t end, int64_t& row,
                             int64_t rows) {
  for (; row + rows <= p.num_rows; row += rows) {
    for (int64_t n = begin; n + Outputs <= end; n += Outputs) {
      if (rows == 4) half_tile<Outputs, 4>(p, matrix, n, row);
      if (rows == 2) half_tile<Outputs, 2>(p, matrix, n, row);
      if (rows == 1) half_tile<Outputs, 1>(p, matrix, n, row);
    }
  }
}

template <int Outputs>
VIGORL_INLINE void half_block(const HalfProduct& p, const Matrix& matrix, int64_t begin, int64_t end) {
  int64_t row = 0;
  half_rows<Outputs>(p, matrix, begin, end, row, 4);
  half_rows<Outputs>(p, matrix, begin, end, row, 2);
  half_rows<Outputs>(p, matrix, begin, end, row, 1);
}

// Outputs begin … end of a matrix, some at a time for all rows of x: these stay in the nearest cache.
VIGORL_KERNEL void half_outputs(const HalfProduct& p, const Matrix& matrix, int64_t begin, int64_t end) {
  for (int64_t n = begin; n < end; n += kBlock) {
    const int64_t stop = std::min(end, n + kBlock), whole = n + (stop - n) / kTile * kTile;
    half_block<kTile>(p, matrix, n, whole);
    half_block<1>(p, matrix, whole, stop);
  }
}

at::Tensor half_linear(const at::Tensor& x_any, at::TensorList weights, const optional<at::Tensor>& biases_any,
                       const optional<at::Tensor>& columns_any) {
  const at::Tensor x = checked(x_any, "x");
  TORCH_CHECK(x.dim() == 2, "x must be [M, K]");
  const int64_t num_rows = x.size(0), depth = x.size(1);
  std::vector<Matrix> matrices;
  int64_t width = 0;
  for (const at::Tensor& weight : weights) {
    TORCH_CHECK(weight.device().is_cpu() && weight.scalar_type() == at::kBFloat16 && weight.is_contiguous() &&
                    weight.dim() == 2 && weight.size(1) == depth,
                "weights must be [any, ", depth, "] bfloat16 on the CPU");
    matrices.push_back({static_cast<const uint16_t*>(weight.data_ptr()), weight.size(0), width});
    width += weight.size(0);
  }
  at::Tensor biases, columns;
  if (biases_any.has_value() && biases_any->defined()) {
    biases = checked(*biases_any, "biases");
    TORCH_CHECK(biases.dim() == 1 && biases.size(0) == width, "biases must be [", width, "]");
  }
  if (columns_any.has_value() && columns_any->defined()) {
    columns = *columns_any;
    TORCH_CHECK(columns.device().is_cpu() && columns.scalar_type() == at::kInt && columns.is_contiguous() &&
                    columns.dim() == 1 && columns.size(0) == width,
                "columns must be [", width, "] int32 on the CPU");
    const int32_t* all = columns.data_ptr<int32_t>();
    TORCH_CHECK(std::all_of(all, all + width, [&](int32_t c) { return c >= 0 && c < width; }),
                "columns must be in [0, ", width, ")");
  }
  at::Tensor y = at::empty({num_rows, width}, x.options());
  const HalfProduct product{x.data_ptr<float>(),
                            biases.defined() ? biases.data_ptr<float>() : nullptr,
                            columns.defined() ? columns.data_ptr<int32_t>() : nullptr,
                            y.data_ptr<float>(),
                            num_rows,
                            depth,
                            width};
  constexpr int64_t worth_a_thread = 1 << 17;
  const int64_t grain = (1 + worth_a_thread / std::max<int64_t>(1, depth * kBlock)) * kBlock;
  for (const Matrix& matrix : matrices) {
    at::parallel_for(0, matrix.num_rows, grain,
                     [&](int64_t begin, int64_t end) { half_outputs(product, matrix, begin, end); });
  }
  return y;
}

TORCH_LIBRARY_FRAGMENT(vigorl, library) {
  library.def("half_linear(Tensor x, Tensor[] weights, Tensor? biases, Tensor? columns) -> Tensor");
}

TORCH_LIBRARY_IMPL(vigorl, CPU, library) { library.impl("half_linear", half_linear); }

TORCH_LIBRARY_IMPL(vigorl, AutogradCPU, library) {
  library.impl("half_linear", torch::CppFunction::makeFromBoxedFunction<&refuse_gradients>());
}

}  // namespace

}  // namespace vigorl
