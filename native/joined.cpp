// Several linear layers of one input as one product, without keeping their weights a second time: the
// joined matrix is made for the product and made again for its derivative. On any device, in any dtype.
#include "env.h"

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

namespace vigorl {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// How the rows of the joined matrix lie: the first `paired` of them come in heads of `size`, whose two
// halves are laid side by side as pairs.
struct Order {
  int64_t paired, size;
};

at::Tensor pair(const at::Tensor& rows, Order order, bool back) {
  std::vector<int64_t> shape{rows.size(0) / order.size, 2, order.size / 2};
  if (back) std::swap(shape[1], shape[2]);
  for (int64_t i = 1; i < rows.dim(); i++) shape.push_back(rows.size(i));
  return rows.reshape(shape).transpose(1, 2).reshape(rows.sizes());
}

at::Tensor pair_first(const at::Tensor& rows, Order order, bool back) {
  if (order.paired == 0) return rows;
  const int64_t rest = rows.size(0) - order.paired;
  const at::Tensor first = pair(rows.narrow(0, 0, order.paired), order, back);
  return rest == 0 ? first : at::cat({first, rows.narrow(0, order.paired, rest)}, 0);
}

at::Tensor join(at::TensorList parts, Order order) {
  return pair_first(parts.size() == 1 ? parts[0] : at::cat(parts, 0), order, false);
}

at::Tensor joined_linear(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                         int64_t paired, int64_t size) {
  TORCH_CHECK(x.dim() == 2 && !weights.empty(), "joined_linear takes rows [N, C] and weights");
  TORCH_CHECK(biases.empty() || biases.size() == weights.size(), "all weights have a bias, or none");
  int64_t width = 0;
  for (size_t i = 0; i < weights.size(); i++) {
    const at::Tensor& weight = weights[i];
    TORCH_CHECK(weight.dim() == 2 && weight.size(1) == x.size(1), "weights must be [out, ", x.size(1), "]");
    TORCH_CHECK(biases.empty() || (biases[i].dim() == 1 && biases[i].size(0) == weight.size(0)),
                "a bias must be [out]");
    width += weight.size(0);
  }
  TORCH_CHECK(paired == 0 || (paired > 0 && paired <= width && size > 0 && size % 2 == 0 && paired % size == 0),
              "paired rows must be heads of an even size");
  const Order order{paired, size};
  const at::Tensor weight = join(weights, order);
  return biases.empty() ? at::linear(x, weight) : at::linear(x, weight, join(biases, order));
}

// The rows of a joined gradient as those of the parts they came from.
void split_into(variable_list& grads, const at::Tensor& joined, Order order, const variable_list& parts) {
  const at::Tensor rows = pair_first(joined, order, true);
  int64_t at = 0;
  for (const at::Tensor& part : parts) {
    grads.push_back(rows.narrow(0, at, part.size(0)));
    at += part.size(0);
  }
}

struct JoinedLinear : torch::autograd::Function<JoinedLinear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, at::TensorList weights,
                            at::TensorList biases, int64_t paired, int64_t size) {
    at::AutoDispatchBelowADInplaceOrView guard;
    variable_list saved{x};
    saved.insert(saved.end(), weights.begin(), weights.end());
    bool trains = false;
    for (const at::Tensor& weight : weights) trains = trains || weight.requires_grad();
    for (const at::Tensor& bias : biases) trains = trains || bias.requires_grad();
    context->save_for_backward(saved);
    context->saved_data["biased"] = !biases.empty();
    context->saved_data["trains"] = trains;
    context->saved_data["follows"] = x.requires_grad();
    context->saved_data["paired"] = paired;
    context->saved_data["size"] = size;
    return joined_linear(x, weights, biases, paired, size);
  }

  // The same products, in the same order, as libtorch's own derivative of a linear layer.
  static variable_list backward(AutogradContext* context, variable_list outer) {
    const at::Tensor& dy = outer[0];
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const variable_list weights(saved.begin() + 1, saved.end());
    const Order order{context->saved_data["paired"].toInt(), context->saved_data["size"].toInt()};
    const bool is_biased = context->saved_data["biased"].toBool();
    variable_list grads;
    grads.push_back(context->saved_data["follows"].toBool() ? dy.mm(join(weights, order)) : at::Tensor());
    if (context->saved_data["trains"].toBool()) {
      split_into(grads, dy.t().mm(x), order, weights);
      if (is_biased) split_into(grads, dy.sum(0), order, weights);
    } else {
      grads.resize(1 + weights.size() * (is_biased ? 2 : 1));
    }
    grads.resize(grads.size() + 2);
    return grads;
  }
};

TORCH_LIBRARY_FRAGMENT(vigorl, library) {
  library.def("joined_linear(Tensor x, Tensor[] weights, Tensor[] biases, int paired, int size) -> Tensor");
}

TORCH_LIBRARY_IMPL(vigorl, CompositeExplicitAutograd, library) {
  library.impl("joined_linear", joined_linear);
}

TORCH_LIBRARY_IMPL(vigorl, Autograd, library) {
  library.impl("joined_linear", [](const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                                   int64_t paired, int64_t size) {
    return JoinedLinear::apply(x, weights, biases, paired, size);
  });
}

}  // namespace

}  // namespace vigorl
