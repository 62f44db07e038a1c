// What the operators of our own share. They stand in the dispatcher as `vigorl::…`, for float32 on a
// CPU; everywhere else the layers in src/torch and src/model are made of libtorch's own. Every row is
// computed for itself, in one order whatever the number of threads.
#pragma once

#include "env.h"
#include "vector.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>

namespace vigorl {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// How many rows of `width` floats are worth a thread of their own.
inline int64_t rows_per_thread(int64_t width) {
  return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, width));
}

inline at::Tensor checked(const at::Tensor& x, const char* what) {
  TORCH_CHECK(x.device().is_cpu() && x.scalar_type() == at::kFloat, what, " must be float32 on the CPU");
  return x.contiguous();
}

// 1 / sqrt(mean(x^2) + eps) of a row.
VIGORL_INLINE float norm_scale(const float* x, int64_t width, float eps) {
  Floats squares{}, a;
  for (int64_t i = 0, n = width; i < width; i += kLanes, n -= kLanes) {
    load(a, x + i, n);
    squares += a * a;
  }
  return 1.0f / std::sqrt(sum(squares) / static_cast<float>(width) + eps);
}

// Stands at AutogradCPU for operators that only sampling uses.
inline void refuse_gradients(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  for (const c10::IValue& input : *stack) {
    TORCH_CHECK(!input.isTensor() || !input.toTensor().requires_grad() || !c10::GradMode::is_enabled(),
                op.schema().name(), " has no gradient: use noGrad");
  }
  at::AutoDispatchBelowADInplaceOrView guard;
  op.callBoxed(stack);
}

}  // namespace vigorl
