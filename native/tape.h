// A tape: the operators that one run of a JavaScript function called, to be called again with the
// same arguments by one call. Tensors that came from outside are held as they are, so their present
// values are read every time; what the operators themselves made is made anew.
#pragma once

#include "graph.h"
#include "op.h"

#include <unordered_map>

namespace vigorl {

class Tape {
 public:
  // Around every call while recording: its arguments before, its results after.
  void before(const std::vector<c10::IValue>& stack);
  void after(const Op& op, const std::vector<c10::IValue>& stack);
  // Ends the recording; `outputs` are the tensors that `run` returns.
  void finish(const std::vector<at::Tensor>& outputs);
  // On a CUDA device the third run and all later ones are one graph, where there can be one.
  std::vector<at::Tensor> run(std::vector<c10::IValue>& stack);

 private:
  // Where an argument is not the constant in `args`: register `index`, as element `element` of a
  // list, or the argument itself (-1).
  struct Use {
    size_t arg;
    int64_t element;
    size_t index;
  };
  struct Step {
    c10::OperatorHandle handle;
    std::string name;
    std::vector<c10::IValue> args;
    std::vector<Use> uses;
    // Register of each resulting tensor, lists flattened; -1 where nobody needs it.
    std::vector<int64_t> results;
    // Registers that no later step reads.
    std::vector<size_t> done;
  };

  int64_t register_of(const at::Tensor& tensor) const;
  void call(const Step& step, std::vector<c10::IValue>& stack);
  std::vector<at::Tensor> run_steps(std::vector<c10::IValue>& stack);
  // The device of all tensors from outside, -1 where that is not one CUDA device.
  c10::DeviceIndex device_of_all() const;

  std::vector<Step> steps_;
  std::vector<at::Tensor> registers_;
  std::vector<at::Tensor> outputs_;
  std::vector<int64_t> output_registers_;
  std::vector<c10::IValue> args_;
  // Runs left before a graph is captured; negative once that was tried.
  int runs_before_graph_ = 2;
  std::unique_ptr<Graph> graph_;
  // Only while recording. Results are held so that no address comes twice.
  std::unordered_map<const c10::TensorImpl*, size_t> made_;
  std::vector<at::Tensor> held_;
};

}  // namespace vigorl
