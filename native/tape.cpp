// See tape.h. Views of outside tensors are taken once, while recording, and are outside tensors too.
#include "tape.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/core/grad_mode.h>

namespace vigorl {

namespace {

template <typename Visit>
void each_tensor(const c10::IValue& value, Visit visit) {
  if (value.isTensor()) {
    visit(value.toTensor(), -1);
  } else if (value.isTensorList()) {
    int64_t element = 0;
    for (const at::Tensor& tensor : value.toTensorVector()) visit(tensor, element++);
  }
}

// Whether the schema promises a view of its arguments in every result.
bool is_view(const c10::FunctionSchema& schema) {
  for (const c10::Argument& result : schema.returns()) {
    if (result.alias_info() == nullptr || result.alias_info()->isWrite()) return false;
  }
  return !schema.returns().empty();
}

}  // namespace

int64_t Tape::register_of(const at::Tensor& tensor) const {
  const auto found = made_.find(tensor.unsafeGetTensorImpl());
  return found == made_.end() ? -1 : static_cast<int64_t>(found->second);
}

void Tape::before(const std::vector<c10::IValue>& stack) {
  for (const c10::IValue& value : stack) {
    if (value.isOptionalTensorList()) throw JsError("lists of tensors and nulls cannot be recorded");
  }
  args_ = stack;
}

void Tape::after(const Op& op, const std::vector<c10::IValue>& stack) {
  Step step{*op.handle, op.name, {}, {}, {}, {}};
  std::vector<at::Tensor> given;
  for (size_t i = 0; i < args_.size(); i++) {
    each_tensor(args_[i], [&](const at::Tensor& tensor, int64_t element) {
      if (!tensor.defined()) return;
      given.push_back(tensor);
      const int64_t index = register_of(tensor);
      if (index >= 0) step.uses.push_back({i, element, static_cast<size_t>(index)});
    });
  }
  std::vector<at::Tensor> results;
  for (const c10::IValue& value : stack) {
    each_tensor(value, [&](const at::Tensor& tensor, int64_t) { results.push_back(tensor); });
  }
  if (step.uses.empty() && is_view(op.handle->schema())) {
    bool views = true;
    for (const at::Tensor& result : results) {
      bool alias = false;
      for (const at::Tensor& tensor : given) alias = alias || result.is_alias_of(tensor);
      views = views && alias;
    }
    if (views) return;
  }
  for (const at::Tensor& result : results) {
    int64_t index = -1;
    if (result.defined()) {
      bool outside = false;
      for (const at::Tensor& tensor : given) outside = outside || tensor.is_same(result);
      index = register_of(result);
      if (index < 0 && !outside) {
        index = static_cast<int64_t>(registers_.size());
        registers_.emplace_back();
        made_[result.unsafeGetTensorImpl()] = static_cast<size_t>(index);
        held_.push_back(result);
      }
    }
    step.results.push_back(index);
  }
  step.args = std::move(args_);
  // What the registers hold during the recording is not to be kept.
  for (const Use& use : step.uses) {
    if (use.element < 0) step.args[use.arg] = c10::IValue();
  }
  steps_.push_back(std::move(step));
}

void Tape::finish(const std::vector<at::Tensor>& outputs) {
  std::vector<bool> needed(registers_.size());
  for (const at::Tensor& tensor : outputs) {
    const int64_t index = register_of(tensor);
    output_registers_.push_back(index);
    outputs_.push_back(index < 0 ? tensor : at::Tensor());
    if (index >= 0) needed[index] = true;
  }
  for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
    auto last = [&](size_t index) {
      if (!needed[index]) step->done.push_back(index);
      needed[index] = true;
    };
    for (const int64_t index : step->results) {
      if (index >= 0) last(static_cast<size_t>(index));
    }
    for (const Use& use : step->uses) {
      last(use.index);
      if (use.element >= 0) step->args[use.arg].toTensorList().set(use.element, at::Tensor());
    }
  }
  made_.clear();
  held_.clear();
}

void Tape::call(const Step& step, std::vector<c10::IValue>& stack) {
  stack.assign(step.args.begin(), step.args.end());
  for (const Use& use : step.uses) {
    if (use.element < 0) {
      stack[use.arg] = registers_[use.index];
    } else {
      // The list itself is shared with the tape: it is filled for the call and emptied after it.
      stack[use.arg].toTensorList().set(use.element, registers_[use.index]);
    }
  }
  step.handle.callBoxed(&stack);
  size_t at = 0;
  for (const c10::IValue& value : stack) {
    each_tensor(value, [&](const at::Tensor& tensor, int64_t) {
      const int64_t index = at < step.results.size() ? step.results[at] : -1;
      at++;
      if (index >= 0) registers_[index] = tensor;
    });
  }
  if (at != step.results.size()) throw JsError("gives another number of tensors than when recorded");
  for (const Use& use : step.uses) {
    if (use.element >= 0) step.args[use.arg].toTensorList().set(use.element, at::Tensor());
  }
  for (const size_t index : step.done) registers_[index] = at::Tensor();
}

c10::DeviceIndex Tape::device_of_all() const {
  c10::DeviceIndex device = -1;
  bool one = true;
  auto visit = [&](const at::Tensor& tensor, int64_t) {
    if (!tensor.defined()) return;
    if (device < 0 && tensor.is_cuda()) device = tensor.get_device();
    one = one && tensor.is_cuda() && tensor.get_device() == device;
  };
  for (const Step& step : steps_) {
    for (const c10::IValue& value : step.args) each_tensor(value, visit);
  }
  return one ? device : -1;
}

std::vector<at::Tensor> Tape::run(std::vector<c10::IValue>& stack) {
  if (graph_ != nullptr) return graph_->run();
  if (runs_before_graph_ > 0) {
    runs_before_graph_--;
  } else if (runs_before_graph_ == 0) {
    runs_before_graph_ = -1;
    const c10::DeviceIndex device = device_of_all();
    if (device >= 0) graph_ = Graph::capture(device, [&] { return run_steps(stack); });
    if (graph_ != nullptr) return graph_->run();
  }
  return run_steps(stack);
}

std::vector<at::Tensor> Tape::run_steps(std::vector<c10::IValue>& stack) {
  // Nothing is recorded for gradients, so the layers of dispatch that would do it are left out.
  at::AutoDispatchBelowADInplaceOrView guard;
  for (const Step& step : steps_) {
    try {
      call(step, stack);
    } catch (const std::exception& error) {
      stack.clear();
      for (at::Tensor& tensor : registers_) tensor = at::Tensor();
      throw JsError(step.name + ": " + first_lines(error.what()));
    }
  }
  stack.clear();
  std::vector<at::Tensor> results;
  for (size_t i = 0; i < outputs_.size(); i++) {
    const int64_t index = output_registers_[i];
    results.push_back(index < 0 ? outputs_[i] : registers_[index]);
  }
  for (const int64_t index : output_registers_) {
    if (index >= 0) registers_[index] = at::Tensor();
  }
  return results;
}

namespace {

// tapeBegin(): notes every operator that is called from now on.
napi_value tape_begin(Call& call) {
  if (call.state->recording != nullptr) throw JsError("a tape is being recorded already");
  if (c10::GradMode::is_enabled()) throw JsError("a tape cannot record gradients: use noGrad");
  call.state->recording = std::make_unique<Tape>();
  return make_undefined(call.env);
}

// tapeEnd(outputs) -> index of the tape; tapeEnd() drops what was recorded.
napi_value tape_end(Call& call) {
  auto tape = std::move(call.state->recording);
  if (tape == nullptr) throw JsError("no tape is being recorded");
  if (call.missing(0)) return make_undefined(call.env);
  std::vector<at::Tensor> outputs;
  for (const int64_t id : call.integers(0)) outputs.push_back(call.state->get(id));
  tape->finish(outputs);
  auto& tapes = call.state->tapes;
  size_t index = 0;
  while (index < tapes.size() && tapes[index] != nullptr) index++;
  if (index == tapes.size()) tapes.emplace_back();
  tapes[index] = std::move(tape);
  return make_number(call.env, static_cast<double>(index));
}

std::unique_ptr<Tape>& find(Call& call) {
  const auto index = static_cast<size_t>(call.integer(0));
  auto& tapes = call.state->tapes;
  if (index >= tapes.size() || tapes[index] == nullptr) throw JsError("this tape was disposed of");
  return tapes[index];
}

// tapeRun(index) -> handles of the outputs
napi_value tape_run(Call& call) {
  if (c10::GradMode::is_enabled()) throw JsError("a tape cannot record gradients: use noGrad");
  if (call.state->recording != nullptr) throw JsError("a tape cannot run while one is recorded");
  auto outputs = find(call)->run(call.state->stack);
  napi_value list;
  check(napi_create_array_with_length(call.env, outputs.size(), &list), "outputs");
  for (size_t i = 0; i < outputs.size(); i++) {
    napi_set_element(call.env, list, i, call.handle(std::move(outputs[i])));
  }
  return list;
}

napi_value tape_free(Call& call) {
  find(call).reset();
  return make_undefined(call.env);
}

}  // namespace

void register_tape(napi_env env, napi_value exports) {
  expose<tape_begin>(env, exports, "tapeBegin");
  expose<tape_end>(env, exports, "tapeEnd");
  expose<tape_run>(env, exports, "tapeRun");
  expose<tape_free>(env, exports, "tapeFree");
}

}  // namespace vigorl
