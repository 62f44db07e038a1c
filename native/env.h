// What every part of the addon shares: the state of one JavaScript environment (main thread or
// worker), its table of tensors, and the guard that turns C++ exceptions into JavaScript errors.
//
// A tensor crosses the border as a small positive integer, its slot in the table, so that no object
// is wrapped and no finaliser is registered per tensor. Slot 0 is never used. When the environment
// ends, the table goes with it.
#pragma once

#include <node_api.h>

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/version.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace vigorl {

#if TORCH_VERSION_MAJOR >= 2
template <typename T>
using optional = std::optional<T>;
#else
template <typename T>
using optional = c10::optional<T>;
#endif

struct Op;
class Tape;

// An error whose message goes to JavaScript as it is.
struct JsError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct EnvState {
  std::vector<at::Tensor> slots{at::Tensor()};
  std::vector<int32_t> free_slots;
  std::vector<std::unique_ptr<Op>> ops;
  std::vector<c10::IValue> stack;
  std::unique_ptr<Tape> recording;
  std::vector<std::unique_ptr<Tape>> tapes;

  EnvState();
  ~EnvState();

  int32_t put(at::Tensor tensor) {
    if (free_slots.empty()) {
      slots.push_back(std::move(tensor));
      return static_cast<int32_t>(slots.size() - 1);
    }
    const int32_t id = free_slots.back();
    free_slots.pop_back();
    slots[id] = std::move(tensor);
    return id;
  }

  const at::Tensor& get(int64_t id) const {
    if (id <= 0 || id >= static_cast<int64_t>(slots.size()) || !slots[id].defined()) {
      throw JsError("this tensor was disposed of (handle " + std::to_string(id) + ")");
    }
    return slots[id];
  }

  void release(int64_t id) {
    if (id <= 0 || id >= static_cast<int64_t>(slots.size()) || !slots[id].defined()) return;
    slots[id] = at::Tensor();
    free_slots.push_back(static_cast<int32_t>(id));
  }

  size_t live() const { return slots.size() - 1 - free_slots.size(); }
};

constexpr size_t kMaxArgs = 32;

// One call from JavaScript: its arguments and the environment it came from.
struct Call {
  napi_env env;
  EnvState* state;
  size_t argc;
  napi_value args[kMaxArgs];

  // The tensor whose handle is argument `i`. Throws JsError on a disposed handle or another type.
  const at::Tensor& tensor(size_t i) const;
  int64_t integer(size_t i) const;
  bool boolean(size_t i) const;
  std::string string(size_t i) const;
  std::vector<int64_t> integers(size_t i) const;
  bool missing(size_t i) const;
  napi_value handle(at::Tensor tensor) const;
  // Throws JsError on numbers that no dtype of this libtorch has.
  at::ScalarType dtype(size_t i) const;
};

// A number as an integer, without rounding. False for any other value.
bool get_integer(napi_env env, napi_value value, int64_t& to);
// Whether `number` is a dtype of this libtorch.
bool is_dtype(int64_t number);
// Element `i` of a list. Throws JsError where a getter of the list threw, whose error is kept.
napi_value element_of(napi_env env, napi_value list, uint32_t i);
bool is_nullish(napi_env env, napi_value value);
std::string to_string(napi_env env, napi_value value);
napi_value make_number(napi_env env, double value);
napi_value make_bool(napi_env env, bool value);
napi_value make_string(napi_env env, const std::string& value);
napi_value make_undefined(napi_env env);
void check(napi_status status, const char* what);

// "float32[2,3]": how error messages name a tensor.
std::string describe(const at::Tensor& tensor);
// The first lines of a C++ exception's text, without the backtrace.
std::string first_lines(const std::string& text);

// Fills in the call and throws the JavaScript error of whatever C++ exception `body` lets out.
napi_value guarded(napi_env env, napi_callback_info info, napi_value (*body)(Call&));

template <napi_value (*Body)(Call&)>
napi_value entry(napi_env env, napi_callback_info info) {
  return guarded(env, info, Body);
}

// Adds function `Body` to `exports` under `name`.
template <napi_value (*Body)(Call&)>
void expose(napi_env env, napi_value exports, const char* name) {
  napi_value function;
  check(napi_create_function(env, name, NAPI_AUTO_LENGTH, entry<Body>, nullptr, &function), name);
  check(napi_set_named_property(env, exports, name, function), name);
}

void register_dispatch(napi_env env, napi_value exports);
void register_data(napi_env env, napi_value exports);
void register_autograd(napi_env env, napi_value exports);
void register_share(napi_env env, napi_value exports);
void register_system(napi_env env, napi_value exports);
void register_tape(napi_env env, napi_value exports);

}  // namespace vigorl
