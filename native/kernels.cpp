// RMS norm and SwiGLU with their derivatives, which libtorch runs on a CPU in many small pieces, as one
// pass over memory each.
#include "kernels.h"

namespace vigorl {

namespace {

// y = x * scale * gain with scale = 1 / sqrt(mean(x^2) + eps), which is kept for the derivative.
VIGORL_KERNEL void norm_forward(const float* x, const float* gain, float* y, float* scales,
                                int64_t num_rows, int64_t width, float eps) {
  for (int64_t row = 0; row < num_rows; row++, x += width, y += width) {
    Floats a, g;
    const float scale = scales[row] = norm_scale(x, width, eps);
    for (int64_t i = 0, n = width; i < width; i += kLanes, n -= kLanes) {
      load(a, x + i, n);
      load(g, gain + i, n);
      store(y + i, a * scale * g, n);
    }
  }
}

// dx = scale * (g dy - x * scale^2 * mean(g dy x)); adds x * scale * dy of every row to `dgain`.
VIGORL_KERNEL void norm_backward(const float* dy, const float* x, const float* gain,
                                 const float* scales, float* dx, float* dgain, int64_t num_rows,
                                 int64_t width) {
  for (int64_t row = 0; row < num_rows; row++, x += width, dy += width, dx += width) {
    const float scale = scales[row];
    Floats products{}, a, d, g, total;
    for (int64_t i = 0, n = width; i < width; i += kLanes, n -= kLanes) {
      load(a, x + i, n);
      load(d, dy + i, n);
      load(g, gain + i, n);
      load(total, dgain + i, n);
      products += a * d * g;
      store(dgain + i, total + a * scale * d, n);
    }
    const float shared = sum(products) * scale * scale / static_cast<float>(width);
    for (int64_t i = 0, n = width; i < width; i += kLanes, n -= kLanes) {
      load(a, x + i, n);
      load(d, dy + i, n);
      load(g, gain + i, n);
      store(dx + i, scale * (d * g - a * shared), n);
    }
  }
}

// y = silu(gate) * up; a row holds `width` gates and then as many ups.
VIGORL_KERNEL void swiglu_forward(const float* x, float* y, int64_t num_rows, int64_t width) {
  for (int64_t row = 0; row < num_rows; row++, x += 2 * width, y += width) {
    for (int64_t i = 0, n = width; i < width; i += kLanes, n -= kLanes) {
      Floats gate, up;
      load(gate, x + i, n);
      load(up, x + width + i, n);
      Floats open = gate;
      sigmoid(open);
      store(y + i, gate * open * up, n);
    }
  }
}

VIGORL_KERNEL void swiglu_backward(const float* dy, const float* x, float* dx, int64_t num_rows,
                                   int64_t width) {
  for (int64_t row = 0; row < num_rows; row++, x += 2 * width, dx += 2 * width, dy += width) {
    for (int64_t i = 0, n = width; i < width; i += kLanes, n -= kLanes) {
      Floats gate, up, d;
      load(gate, x + i, n);
      load(up, x + width + i, n);
      load(d, dy + i, n);
      Floats open = gate;
      sigmoid(open);
      store(dx + i, d * up * open * (1.0f + gate * (1.0f - open)), n);
      store(dx + width + i, d * gate * open, n);
    }
  }
}

std::tuple<at::Tensor, at::Tensor> norm(const at::Tensor& x_any, const at::Tensor& gain_any, double eps) {
  const at::Tensor x = checked(x_any, "x"), gain = checked(gain_any, "the gain");
  TORCH_CHECK(x.dim() >= 1, "x must have rows");
  const int64_t width = x.size(-1), num_rows = x.numel() / std::max<int64_t>(1, width);
  TORCH_CHECK(gain.dim() == 1 && gain.size(0) == width, "the gain must have ", width, " entries");
  at::Tensor y = at::empty_like(x), scales = at::empty({num_rows}, x.options());
  const float *from = x.data_ptr<float>(), *by = gain.data_ptr<float>();
  float *to = y.data_ptr<float>(), *kept = scales.data_ptr<float>();
  at::parallel_for(0, num_rows, rows_per_thread(width), [&](int64_t begin, int64_t end) {
    norm_forward(from + begin * width, by, to + begin * width, kept + begin, end - begin, width,
                 static_cast<float>(eps));
  });
  return {y, scales};
}

std::tuple<at::Tensor, at::Tensor> norm_grad(const at::Tensor& dy_any, const at::Tensor& x,
                                             const at::Tensor& gain, const at::Tensor& scales) {
  const at::Tensor dy = checked(dy_any, "the gradient");
  const int64_t width = x.size(-1), num_rows = scales.numel();
  // The gain's gradient is summed block by block, so that its bits don't depend on the threads.
  constexpr int64_t rows_per_block = 128;
  const int64_t num_blocks = (num_rows + rows_per_block - 1) / rows_per_block;
  at::Tensor dx = at::empty_like(x), partial = at::zeros({num_blocks, width}, x.options());
  const float *d = dy.data_ptr<float>(), *from = x.data_ptr<float>(), *by = gain.data_ptr<float>();
  const float* kept = scales.data_ptr<float>();
  float *to = dx.data_ptr<float>(), *sums = partial.data_ptr<float>();
  at::parallel_for(0, num_blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; block++) {
      const int64_t row = block * rows_per_block;
      const int64_t count = std::min(rows_per_block, num_rows - row);
      norm_backward(d + row * width, from + row * width, by, kept + row, to + row * width,
                    sums + block * width, count, width);
    }
  });
  return {dx, partial.sum(0)};
}

at::Tensor swiglu_cpu(const at::Tensor& x_any) {
  const at::Tensor x = checked(x_any, "x");
  TORCH_CHECK(x.dim() >= 1 && x.size(-1) % 2 == 0, "gates and ups must be of one width");
  std::vector<int64_t> shape = x.sizes().vec();
  const int64_t width = shape.back() /= 2, num_rows = x.numel() / std::max<int64_t>(1, 2 * width);
  at::Tensor y = at::empty(shape, x.options());
  const float* from = x.data_ptr<float>();
  float* to = y.data_ptr<float>();
  at::parallel_for(0, num_rows, rows_per_thread(width), [&](int64_t begin, int64_t end) {
    swiglu_forward(from + 2 * begin * width, to + begin * width, end - begin, width);
  });
  return y;
}

at::Tensor swiglu_grad(const at::Tensor& dy_any, const at::Tensor& x) {
  const at::Tensor dy = checked(dy_any, "the gradient");
  const int64_t width = dy.size(-1), num_rows = dy.numel() / std::max<int64_t>(1, width);
  at::Tensor dx = at::empty_like(x);
  const float *d = dy.data_ptr<float>(), *from = x.data_ptr<float>();
  float* to = dx.data_ptr<float>();
  at::parallel_for(0, num_rows, rows_per_thread(width), [&](int64_t begin, int64_t end) {
    swiglu_backward(d + begin * width, from + 2 * begin * width, to + 2 * begin * width, end - begin,
                    width);
  });
  return dx;
}

struct NormFunction : torch::autograd::Function<NormFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_any, const at::Tensor& gain_any,
                            double eps) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const at::Tensor x = x_any.contiguous(), gain = gain_any.contiguous();
    auto [y, scales] = norm(x, gain, eps);
    context->save_for_backward({x, gain, scales});
    return y;
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    auto [dx, dgain] = norm_grad(grads[0], saved[0], saved[1], saved[2]);
    return {dx, dgain, at::Tensor()};
  }
};

struct SwigluFunction : torch::autograd::Function<SwigluFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_any) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const at::Tensor x = x_any.contiguous();
    context->save_for_backward({x});
    return swiglu_cpu(x);
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    return {swiglu_grad(grads[0], context->get_saved_variables()[0])};
  }
};

TORCH_LIBRARY_FRAGMENT(vigorl, library) {
  library.def("rms_norm(Tensor x, Tensor gain, float eps) -> Tensor");
  library.def("swiglu(Tensor x) -> Tensor");
}

TORCH_LIBRARY_IMPL(vigorl, CPU, library) {
  library.impl("rms_norm", [](const at::Tensor& x, const at::Tensor& gain, double eps) {
    return std::get<0>(norm(x, gain, eps));
  });
  library.impl("swiglu", swiglu_cpu);
}

TORCH_LIBRARY_IMPL(vigorl, AutogradCPU, library) {
  library.impl("rms_norm", [](const at::Tensor& x, const at::Tensor& gain, double eps) {
    return NormFunction::apply(x, gain, eps);
  });
  library.impl("swiglu", [](const at::Tensor& x) { return SwigluFunction::apply(x); });
}

}  // namespace

}  // namespace vigorl
