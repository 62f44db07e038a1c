// The addon's entry point and the helpers of env.h. State lives in napi instance data, one per
// environment, so that the main thread and any number of workers may load the addon at once.
#include "env.h"
#include "op.h"
#include "tape.h"

#include <ATen/Parallel.h>

#include <cmath>

namespace vigorl {

EnvState::EnvState() = default;
EnvState::~EnvState() = default;

void check(napi_status status, const char* what) {
  if (status != napi_ok) throw JsError(std::string("unexpected argument: ") + what);
}

bool is_nullish(napi_env env, napi_value value) {
  napi_valuetype type;
  napi_typeof(env, value, &type);
  return type == napi_undefined || type == napi_null;
}

std::string to_string(napi_env env, napi_value value) {
  size_t length = 0;
  check(napi_get_value_string_utf8(env, value, nullptr, 0, &length), "a string is needed");
  std::string text(length, '\0');
  check(napi_get_value_string_utf8(env, value, text.data(), length + 1, &length), "a string");
  return text;
}

napi_value make_number(napi_env env, double value) {
  napi_value result;
  check(napi_create_double(env, value, &result), "number");
  return result;
}

napi_value make_bool(napi_env env, bool value) {
  napi_value result;
  check(napi_get_boolean(env, value, &result), "boolean");
  return result;
}

napi_value make_string(napi_env env, const std::string& value) {
  napi_value result;
  check(napi_create_string_utf8(env, value.data(), value.size(), &result), "string");
  return result;
}

napi_value make_undefined(napi_env env) {
  napi_value result;
  napi_get_undefined(env, &result);
  return result;
}

bool Call::missing(size_t i) const { return i >= argc || is_nullish(env, args[i]); }

bool get_integer(napi_env env, napi_value value, int64_t& to) {
  double number = 0;
  if (napi_get_value_double(env, value, &number) != napi_ok || number != std::floor(number) ||
      std::abs(number) > 9.2e18) {
    return false;
  }
  to = static_cast<int64_t>(number);
  return true;
}

bool is_dtype(int64_t number) {
  return number >= 0 && number < static_cast<int64_t>(at::ScalarType::NumOptions) &&
         number != static_cast<int64_t>(at::ScalarType::Undefined);
}

napi_value element_of(napi_env env, napi_value list, uint32_t i) {
  napi_value element;
  check(napi_get_element(env, list, i, &element), "an element of a list");
  return element;
}

int64_t Call::integer(size_t i) const {
  int64_t value = 0;
  if (i >= argc || !get_integer(env, args[i], value)) {
    throw JsError("argument " + std::to_string(i) + " must be an integer");
  }
  return value;
}

at::ScalarType Call::dtype(size_t i) const {
  const int64_t number = integer(i);
  if (!is_dtype(number)) throw JsError("no dtype has the number " + std::to_string(number));
  return static_cast<at::ScalarType>(number);
}

const at::Tensor& Call::tensor(size_t i) const {
  int64_t id = 0;
  if (i >= argc || !get_integer(env, args[i], id)) {
    throw JsError("argument " + std::to_string(i) + " must be a tensor");
  }
  return state->get(id);
}

bool Call::boolean(size_t i) const {
  bool value = false;
  if (i >= argc || napi_get_value_bool(env, args[i], &value) != napi_ok) {
    throw JsError("argument " + std::to_string(i) + " must be a boolean");
  }
  return value;
}

std::string Call::string(size_t i) const {
  if (i >= argc) throw JsError("argument " + std::to_string(i) + " must be a string");
  return to_string(env, args[i]);
}

std::vector<int64_t> Call::integers(size_t i) const {
  uint32_t length = 0;
  if (i >= argc || napi_get_array_length(env, args[i], &length) != napi_ok) {
    throw JsError("argument " + std::to_string(i) + " must be a list of integers");
  }
  std::vector<int64_t> values(length);
  for (uint32_t k = 0; k < length; k++) {
    if (!get_integer(env, element_of(env, args[i], k), values[k])) {
      throw JsError("argument " + std::to_string(i) + " must be a list of integers");
    }
  }
  return values;
}

napi_value Call::handle(at::Tensor tensor) const {
  napi_value result;
  check(napi_create_int32(env, state->put(std::move(tensor)), &result), "handle");
  return result;
}

static const char* dtype_name(at::ScalarType type) {
  switch (type) {
    case at::kFloat: return "float32";
    case at::kDouble: return "float64";
    case at::kHalf: return "float16";
    case at::kBFloat16: return "bfloat16";
    case at::kLong: return "int64";
    case at::kInt: return "int32";
    case at::kShort: return "int16";
    case at::kChar: return "int8";
    case at::kByte: return "uint8";
    case at::kBool: return "bool";
    default: return c10::toString(type);
  }
}

std::string describe(const at::Tensor& tensor) {
  if (!tensor.defined()) return "none";
  std::string text = std::string(dtype_name(tensor.scalar_type())) + "[";
  for (int64_t d = 0; d < tensor.dim(); d++) {
    text += (d ? "," : "") + std::to_string(tensor.size(d));
  }
  return text + "]" + (tensor.is_cpu() ? "" : "@" + tensor.device().str());
}

std::string first_lines(const std::string& text) {
  size_t end = text.find("\nException raised from");
  if (end == std::string::npos) end = text.size();
  size_t position = 0;
  for (int lines = 0; lines < 4; lines++) {
    const size_t newline = text.find('\n', position);
    if (newline == std::string::npos || newline >= end) return text.substr(0, end);
    position = newline + 1;
  }
  return text.substr(0, position - 1);
}

napi_value guarded(napi_env env, napi_callback_info info, napi_value (*body)(Call&)) {
  Call call;
  call.env = env;
  call.argc = kMaxArgs;
  void* data = nullptr;
  napi_get_cb_info(env, info, &call.argc, call.args, nullptr, nullptr);
  if (call.argc > kMaxArgs) call.argc = kMaxArgs;
  napi_get_instance_data(env, &data);
  call.state = static_cast<EnvState*>(data);
  std::string message;
  try {
    return body(call);
  } catch (const JsError& error) {
    message = error.what();
  } catch (const c10::Error& error) {
    message = first_lines(error.what_without_backtrace());
  } catch (const std::exception& error) {
    message = first_lines(error.what());
  } catch (...) {
    message = "unknown exception in libtorch";
  }
  call.state->stack.clear();
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_error(env, "ERR_TORCH", message.c_str());
  return nullptr;
}

}  // namespace vigorl

static napi_value init(napi_env env, napi_value exports) {
  auto* state = new vigorl::EnvState();
  napi_set_instance_data(
      env, state, [](napi_env, void* data, void*) { delete static_cast<vigorl::EnvState*>(data); },
      nullptr);
  try {
    // A thread's first parallel loop takes over the number of threads that any thread set last, unless
    // the thread has asked before.
    at::get_num_threads();
    vigorl::register_dispatch(env, exports);
    vigorl::register_data(env, exports);
    vigorl::register_autograd(env, exports);
    vigorl::register_system(env, exports);
    vigorl::register_share(env, exports);
    vigorl::register_tape(env, exports);
  } catch (const std::exception& error) {
    napi_throw_error(env, "ERR_TORCH", error.what());
  }
  return exports;
}

NAPI_MODULE(vigorl, init)
