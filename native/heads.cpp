// From projected rows to what attention takes, and back: queries and keys rotated by their positions,
// sequences of different lengths laid out padded, in one pass over memory, with the derivatives.
#include "kernels.h"

namespace vigorl {

namespace {

// The sizes of `heads`: a row of `qkv` is H query heads, KV key heads, KV value heads of D floats.
struct HeadSizes {
  int64_t queries, keys, size, num_rows;

  static HeadSizes of(const at::Tensor& qkv, int64_t queries, int64_t keys, int64_t num_rows) {
    // No more heads than columns, so that their sum does not overflow either.
    TORCH_CHECK(qkv.dim() == 2 && queries > 0 && keys > 0 && queries <= qkv.size(1) && keys <= qkv.size(1),
                "qkv must be [N, (H + 2 KV) D] with at least one head of each");
    return {queries, keys, qkv.size(1) / (queries + 2 * keys), num_rows};
  }
  int64_t in() const { return (queries + 2 * keys) * size; }
};

// Rows begin … end of `qkv`, rotated, to rows rows[n] of q, k and v; rows between and behind become zero.
VIGORL_KERNEL void heads_forward(const float* qkv, const float* factors, const int64_t* rows, float* q,
                                 float* k, float* v, const HeadSizes& sizes, int64_t begin, int64_t end,
                                 int64_t num_in) {
  const int64_t size = sizes.size, nq = sizes.queries * size, nk = sizes.keys * size;
  for (int64_t n = begin; n < end; n++) {
    const float *from = qkv + n * sizes.in(), *by = factors + n * size;
    const int64_t row = rows == nullptr ? n : rows[n];
    for (int64_t i = 0; i < nq; i += size) rotate(from + i, by, q + row * nq + i, size, 1);
    for (int64_t i = 0; i < nk; i += size) rotate(from + nq + i, by, k + row * nk + i, size, 1);
    std::memcpy(v + row * nk, from + nq + nk, static_cast<size_t>(nk) * sizeof(float));
    if (rows == nullptr) continue;
    const int64_t gap = (n + 1 < num_in ? rows[n + 1] : sizes.num_rows) - row - 1;
    std::fill_n(q + (row + 1) * nq, gap * nq, 0.0f);
    std::fill_n(k + (row + 1) * nk, gap * nk, 0.0f);
    std::fill_n(v + (row + 1) * nk, gap * nk, 0.0f);
  }
}

VIGORL_KERNEL void heads_backward(const float* q, const float* k, const float* v, const float* factors,
                                  const int64_t* rows, float* qkv, const HeadSizes& sizes, int64_t begin,
                                  int64_t end) {
  const int64_t size = sizes.size, nq = sizes.queries * size, nk = sizes.keys * size;
  for (int64_t n = begin; n < end; n++) {
    float* to = qkv + n * sizes.in();
    const float* by = factors + n * size;
    const int64_t row = rows == nullptr ? n : rows[n];
    for (int64_t i = 0; i < nq; i += size) rotate(q + row * nq + i, by, to + i, size, -1);
    for (int64_t i = 0; i < nk; i += size) rotate(k + row * nk + i, by, to + nq + i, size, -1);
    std::memcpy(to + nq + nk, v + row * nk, static_cast<size_t>(nk) * sizeof(float));
  }
}

// Row numbers below `num_rows`, each above the one before it; null where there are none.
const int64_t* rows_of(const at::Tensor& rows, int64_t num_rows) {
  if (!rows.defined()) return nullptr;
  TORCH_CHECK(rows.device().is_cpu() && rows.is_contiguous() && rows.scalar_type() == at::kLong,
              "rows must be int64 on the CPU");
  const int64_t* numbers = rows.data_ptr<int64_t>();
  for (int64_t n = 0, next = 0; n < rows.numel(); next = numbers[n++] + 1) {
    TORCH_CHECK(numbers[n] >= next && numbers[n] < num_rows,
                "rows must ascend and be less than ", num_rows, " (entry ", n, " is ", numbers[n], ")");
  }
  return numbers;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> split_heads(const at::Tensor& qkv_any,
                                                           const at::Tensor& factors_any,
                                                           const at::Tensor& rows, HeadSizes sizes) {
  const at::Tensor qkv = checked(qkv_any, "qkv");
  const at::Tensor factors = checked(at::view_as_real(factors_any), "the factors");
  const int64_t num_in = qkv.size(0);
  TORCH_CHECK(qkv.size(1) == sizes.in(), "qkv must be [N, ", sizes.in(), "]");
  TORCH_CHECK(factors.size(0) == num_in && factors.numel() == num_in * sizes.size,
              "the factors must be [N, ", sizes.size / 2, "]");
  TORCH_CHECK((rows.defined() ? rows.numel() : sizes.num_rows) == num_in, "rows must be [N], a row for each");
  at::Tensor q = at::empty({sizes.num_rows, sizes.queries, sizes.size}, qkv.options());
  at::Tensor k = at::empty({sizes.num_rows, sizes.keys, sizes.size}, qkv.options());
  at::Tensor v = at::empty_like(k);
  const float *from = qkv.data_ptr<float>(), *by = factors.data_ptr<float>();
  const int64_t* at_rows = rows_of(rows, sizes.num_rows);
  float *to_q = q.data_ptr<float>(), *to_k = k.data_ptr<float>(), *to_v = v.data_ptr<float>();
  if (at_rows != nullptr || num_in == 0) {
    const int64_t before = num_in == 0 ? sizes.num_rows : at_rows[0];
    std::fill_n(to_q, before * sizes.queries * sizes.size, 0.0f);
    std::fill_n(to_k, before * sizes.keys * sizes.size, 0.0f);
    std::fill_n(to_v, before * sizes.keys * sizes.size, 0.0f);
  }
  at::parallel_for(0, num_in, rows_per_thread(sizes.in()), [&](int64_t begin, int64_t end) {
    heads_forward(from, by, at_rows, to_q, to_k, to_v, sizes, begin, end, num_in);
  });
  return {q, k, v};
}

at::Tensor split_heads_grad(const at::Tensor& dq, const at::Tensor& dk, const at::Tensor& dv,
                            const at::Tensor& factors_complex, const at::Tensor& rows,
                            HeadSizes sizes) {
  const at::Tensor q = checked(dq, "the gradient"), k = checked(dk, "the gradient"),
                   v = checked(dv, "the gradient");
  const at::Tensor factors = at::view_as_real(factors_complex);
  const int64_t num_in = factors.size(0);
  at::Tensor qkv = at::empty({num_in, sizes.in()}, q.options());
  const float *from_q = q.data_ptr<float>(), *from_k = k.data_ptr<float>(),
              *from_v = v.data_ptr<float>(), *by = factors.data_ptr<float>();
  const int64_t* at_rows = rows_of(rows, sizes.num_rows);
  float* to = qkv.data_ptr<float>();
  at::parallel_for(0, num_in, rows_per_thread(sizes.in()), [&](int64_t begin, int64_t end) {
    heads_backward(from_q, from_k, from_v, by, at_rows, to, sizes, begin, end);
  });
  return qkv;
}

// Rows of x [R, C] in ascending order, and back, where the others get zero.
at::Tensor take_rows(const at::Tensor& x_any, const at::Tensor& rows) {
  const at::Tensor x = checked(x_any, "x");
  TORCH_CHECK(x.dim() == 2, "x must be [R, C]");
  const int64_t width = x.size(1), count = rows.numel();
  at::Tensor y = at::empty({count, width}, x.options());
  const float* from = x.data_ptr<float>();
  const int64_t* at_rows = rows_of(rows, x.size(0));
  float* to = y.data_ptr<float>();
  at::parallel_for(0, count, rows_per_thread(width), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; n++)
      std::copy_n(from + at_rows[n] * width, width, to + n * width);
  });
  return y;
}

at::Tensor take_rows_grad(const at::Tensor& dy_any, const at::Tensor& rows, int64_t num_rows) {
  const at::Tensor dy = checked(dy_any, "the gradient");
  const int64_t width = dy.size(-1), count = rows.numel();
  at::Tensor dx = at::empty({num_rows, width}, dy.options());
  const float* from = dy.data_ptr<float>();
  const int64_t* at_rows = rows_of(rows, num_rows);
  float* to = dx.data_ptr<float>();
  std::fill_n(to, (count == 0 ? num_rows : at_rows[0]) * width, 0.0f);
  at::parallel_for(0, count, rows_per_thread(width), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; n++) {
      const int64_t row = at_rows[n], next = n + 1 < count ? at_rows[n + 1] : num_rows;
      std::copy_n(from + n * width, width, to + row * width);
      std::fill_n(to + (row + 1) * width, (next - row - 1) * width, 0.0f);
    }
  });
  return dx;
}

struct HeadsFunction : torch::autograd::Function<HeadsFunction> {
  static variable_list forward(AutogradContext* context, const at::Tensor& qkv, const at::Tensor& factors,
                               const optional<at::Tensor>& rows, int64_t num_rows, int64_t queries,
                               int64_t keys) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const at::Tensor order = rows.value_or(at::Tensor());
    const HeadSizes sizes = HeadSizes::of(qkv, queries, keys, num_rows);
    auto [q, k, v] = split_heads(qkv, factors, order, sizes);
    context->save_for_backward({factors.contiguous(), order});
    context->saved_data["sizes"] = std::vector<int64_t>{queries, keys, sizes.size, num_rows};
    return {q, k, v};
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const auto sizes = context->saved_data["sizes"].toIntVector();
    const at::Tensor dqkv = split_heads_grad(grads[0], grads[1], grads[2], saved[0], saved[1],
                                             {sizes[0], sizes[1], sizes[2], sizes[3]});
    return {dqkv, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

struct TakeFunction : torch::autograd::Function<TakeFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& rows) {
    at::AutoDispatchBelowADInplaceOrView guard;
    context->save_for_backward({rows});
    context->saved_data["rows"] = x.size(0);
    return take_rows(x, rows);
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const at::Tensor rows = context->get_saved_variables()[0];
    return {take_rows_grad(grads[0], rows, context->saved_data["rows"].toInt()), at::Tensor()};
  }
};

TORCH_LIBRARY_FRAGMENT(vigorl, library) {
  library.def(
      "heads(Tensor qkv, Tensor factors, Tensor? rows, int num_rows, int queries, int keys) "
      "-> (Tensor, Tensor, Tensor)");
  library.def("take_rows(Tensor x, Tensor rows) -> Tensor");
}

TORCH_LIBRARY_IMPL(vigorl, CPU, library) {
  library.impl("heads", [](const at::Tensor& qkv, const at::Tensor& factors,
                           const optional<at::Tensor>& rows, int64_t num_rows, int64_t queries,
                           int64_t keys) {
    return split_heads(qkv, factors, rows.value_or(at::Tensor()),
                       HeadSizes::of(qkv, queries, keys, num_rows));
  });
  library.impl("take_rows", take_rows);
}

TORCH_LIBRARY_IMPL(vigorl, AutogradCPU, library) {
  library.impl("heads", [](const at::Tensor& qkv, const at::Tensor& factors,
                           const optional<at::Tensor>& rows, int64_t num_rows, int64_t queries,
                           int64_t keys) {
    const auto parts = HeadsFunction::apply(qkv, factors, rows, num_rows, queries, keys);
    return std::make_tuple(parts[0], parts[1], parts[2]);
  });
  library.impl("take_rows", [](const at::Tensor& x, const at::Tensor& rows) {
    return TakeFunction::apply(x, rows);
  });
}

}  // namespace

}  // namespace vigorl
