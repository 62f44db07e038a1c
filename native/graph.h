// A run of operators on one CUDA device, captured once and launched again as one CUDA graph. Where the
// addon was built without CUDA's headers there are no graphs, and everything runs operator by operator.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

namespace vigorl {

class Graph {
 public:
  using Work = std::function<std::vector<at::Tensor>()>;

  // Captures `work`, which runs without computing anything; null where that cannot be done: then
  // nothing has changed. Its intermediate results share memory with those of all graphs of the thread.
  static std::unique_ptr<Graph> capture(c10::DeviceIndex device, const Work& work);
  virtual ~Graph() = default;
  // Computes on what the tensors from outside hold now; the results are copies.
  virtual std::vector<at::Tensor> run() = 0;
};

}  // namespace vigorl
