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
inline int64_t rows_per_thread(int64_t width) { return std::max<int64_t>(1, 16384 / width); }

inline at::Tensor checked(const at::Tensor& x, const char* what) {
  TORCH_CHECK(x.device().is_cpu() && x.scalar_type() == at::kFloat, what, " must be float32 on the CPU");
  return x.contiguous();
}

// For operators that only sampling uses.
inline void refuse_gradients(const char* name, std::initializer_list<at::Tensor> inputs) {
  for (const at::Tensor& input : inputs) {
    TORCH_CHECK(!input.defined() || !input.requires_grad() || !c10::GradMode::is_enabled(), name,
                " has no gradient: use noGrad");
  }
}

}  // namespace vigorl
