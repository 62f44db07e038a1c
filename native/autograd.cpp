// Autograd: backward passes, gradients, and whether operators are recorded. Grad mode belongs to the
// calling thread, so every worker has its own.
#include "env.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/variable.h>

namespace vigorl {

namespace {

std::vector<at::Tensor> tensors(const Call& call, size_t i) {
  std::vector<at::Tensor> list;
  if (call.missing(i)) return list;
  for (const int64_t id : call.integers(i)) {
    list.push_back(id == 0 ? at::Tensor() : call.state->get(id));
  }
  return list;
}

// backward(roots, gradients?, retainGraph?): adds to the leaves' gradients.
napi_value backward(Call& call) {
  optional<bool> retain;
  if (!call.missing(2)) retain = call.boolean(2);
  const auto roots = tensors(call, 0);
  for (const at::Tensor& root : roots) {
    if (!root.defined()) throw JsError("there is no backward from no tensor");
  }
  torch::autograd::backward(roots, tensors(call, 1), retain);
  return make_undefined(call.env);
}

// grad(handle) -> handle of the accumulated gradient, 0 where there is none.
napi_value grad(Call& call) {
  const at::Tensor& gradient = call.tensor(0).grad();
  return gradient.defined() ? call.handle(gradient) : make_number(call.env, 0);
}

// setGrad(handle, gradient | null)
napi_value set_grad(Call& call) {
  const at::Tensor& tensor = call.tensor(0);
  if (call.missing(1)) {
    tensor.mutable_grad().reset();
    return make_undefined(call.env);
  }
  const at::Tensor& gradient = call.tensor(1);
  if (!gradient.sizes().equals(tensor.sizes())) {
    throw JsError("a gradient of " + describe(gradient) + " does not fit " + describe(tensor));
  }
  tensor.mutable_grad() = gradient;
  return make_undefined(call.env);
}

napi_value requires_grad(Call& call) {
  return make_bool(call.env, call.tensor(0).requires_grad());
}

napi_value set_requires_grad(Call& call) {
  call.tensor(0).set_requires_grad(call.boolean(1));
  return make_undefined(call.env);
}

napi_value is_leaf(Call& call) { return make_bool(call.env, call.tensor(0).is_leaf()); }

napi_value grad_enabled(Call& call) {
  return make_bool(call.env, at::GradMode::is_enabled());
}

napi_value set_grad_enabled(Call& call) {
  at::GradMode::set_enabled(call.boolean(0));
  return make_undefined(call.env);
}

}  // namespace

void register_autograd(napi_env env, napi_value exports) {
  expose<backward>(env, exports, "backward");
  expose<grad>(env, exports, "grad");
  expose<set_grad>(env, exports, "setGrad");
  expose<requires_grad>(env, exports, "requiresGrad");
  expose<set_requires_grad>(env, exports, "setRequiresGrad");
  expose<is_leaf>(env, exports, "isLeaf");
  expose<grad_enabled>(env, exports, "gradEnabled");
  expose<set_grad_enabled>(env, exports, "setGradEnabled");
}

}  // namespace vigorl
