// JavaScript values to IValues and back, by the types that an operator's schema states.
//
//   Tensor -> handle (positive integer)     Scalar -> number (integral: int64, else double), boolean
//   int[] -> number[] (or one number)       Device -> string      ScalarType, Layout -> its number
#include "op.h"

#include <ATen/core/ivalue.h>
#include <ATen/core/jit_type.h>

#include <cmath>

namespace vigorl {

namespace {

[[noreturn]] void wrong(const ArgPlan& plan) {
  throw JsError("argument '" + plan.name + "' must be " + kind_name(plan.kind));
}

c10::Scalar to_scalar(napi_env env, const ArgPlan& plan, napi_value value) {
  double number = 0;
  if (napi_get_value_double(env, value, &number) == napi_ok) {
    const bool integral = number == std::floor(number) && std::abs(number) <= 9007199254740991.0 &&
                          !(number == 0 && std::signbit(number));
    return integral ? c10::Scalar(static_cast<int64_t>(number)) : c10::Scalar(number);
  }
  bool flag = false;
  if (napi_get_value_bool(env, value, &flag) == napi_ok) return c10::Scalar(flag);
  int64_t big = 0;
  bool lossless = false;
  if (napi_get_value_bigint_int64(env, value, &big, &lossless) == napi_ok && lossless) {
    return c10::Scalar(big);
  }
  wrong(plan);
}

int64_t to_int(napi_env env, const ArgPlan& plan, napi_value value) {
  int64_t big = 0;
  if (get_integer(env, value, big)) return big;
  bool lossless = false;
  if (napi_get_value_bigint_int64(env, value, &big, &lossless) == napi_ok && lossless) return big;
  bool flag = false;
  if (napi_get_value_bool(env, value, &flag) == napi_ok) return flag;
  wrong(plan);
}

// The number of an enumeration that has `count` of them.
int64_t to_below(napi_env env, const ArgPlan& plan, napi_value value, int64_t count) {
  const int64_t number = to_int(env, plan, value);
  if (number < 0 || number >= count) wrong(plan);
  return number;
}

double to_double(napi_env env, const ArgPlan& plan, napi_value value) {
  double number = 0;
  if (napi_get_value_double(env, value, &number) != napi_ok) wrong(plan);
  return number;
}

bool to_bool(napi_env env, const ArgPlan& plan, napi_value value) {
  bool flag = false;
  if (napi_get_value_bool(env, value, &flag) != napi_ok) wrong(plan);
  return flag;
}

const at::Tensor& to_tensor(const Call& call, const ArgPlan& plan, napi_value value) {
  double id = 0;
  if (napi_get_value_double(call.env, value, &id) != napi_ok) wrong(plan);
  if (!(id >= 0 && id <= 2147483647)) id = 0;  // no handle, whatever it is
  try {
    return call.state->get(static_cast<int64_t>(id));
  } catch (const JsError&) {
    throw JsError("argument '" + plan.name + "' is a tensor that was disposed of");
  }
}

template <typename Visit>
void each(const Call& call, const ArgPlan& plan, napi_value list, Visit visit) {
  bool is_array = false;
  uint32_t length = 0;
  napi_is_array(call.env, list, &is_array);
  if (!is_array) wrong(plan);
  napi_get_array_length(call.env, list, &length);
  for (uint32_t i = 0; i < length; i++) {
    visit(element_of(call.env, list, i));
  }
}

c10::IValue to_int_list(const Call& call, const ArgPlan& plan, napi_value value) {
  std::vector<int64_t> ints;
  napi_valuetype type;
  napi_typeof(call.env, value, &type);
  if (type == napi_number && plan.broadcast > 0) {
    ints.assign(plan.broadcast, to_int(call.env, plan, value));
  } else {
    each(call, plan, value, [&](napi_value e) { ints.push_back(to_int(call.env, plan, e)); });
  }
  return c10::IValue(std::move(ints));
}

napi_value make_list(const Call& call, size_t length) {
  napi_value list;
  check(napi_create_array_with_length(call.env, length, &list), "list");
  return list;
}

}  // namespace

Kind kind_of(c10::TypePtr type, bool& nullable) {
  using c10::TypeKind;
  if (type->kind() == TypeKind::OptionalType) {
    nullable = true;
    type = type->castRaw<c10::OptionalType>()->getElementType();
  }
  switch (type->kind()) {
    case TypeKind::TensorType: return Kind::Tensor;
    case TypeKind::NumberType: return Kind::Scalar;
    case TypeKind::IntType:
    case TypeKind::SymIntType: return Kind::Int;
    case TypeKind::FloatType: return Kind::Float;
    case TypeKind::BoolType: return Kind::Bool;
    case TypeKind::StringType: return Kind::String;
    case TypeKind::ScalarTypeType: return Kind::ScalarType;
    case TypeKind::LayoutType: return Kind::Layout;
    case TypeKind::MemoryFormatType: return Kind::MemoryFormat;
    case TypeKind::DeviceObjType: return Kind::Device;
    case TypeKind::GeneratorType: return Kind::Generator;
    case TypeKind::ListType: break;
    default: return Kind::Unsupported;
  }
  bool nullable_element = false;
  switch (kind_of(type->castRaw<c10::ListType>()->getElementType(), nullable_element)) {
    case Kind::Tensor: return nullable_element ? Kind::OptionalTensorList : Kind::TensorList;
    case Kind::Int: return Kind::IntList;
    case Kind::Float: return Kind::FloatList;
    case Kind::Bool: return Kind::BoolList;
    case Kind::Scalar: return Kind::ScalarList;
    default: return Kind::Unsupported;
  }
}

const char* kind_name(Kind kind) {
  switch (kind) {
    case Kind::Tensor: return "a tensor";
    case Kind::Scalar: return "a number";
    case Kind::Int: return "an integer";
    case Kind::Float: return "a number";
    case Kind::Bool: return "a boolean";
    case Kind::String: return "a string";
    case Kind::ScalarType: return "a dtype";
    case Kind::Layout: return "a layout";
    case Kind::MemoryFormat: return "a memory format";
    case Kind::Device: return "a device such as \"cpu\" or \"cuda:0\"";
    case Kind::Generator: return "null (the default generator)";
    case Kind::TensorList: return "a list of tensors";
    case Kind::OptionalTensorList: return "a list of tensors and nulls";
    case Kind::IntList: return "a list of integers";
    case Kind::FloatList: return "a list of numbers";
    case Kind::BoolList: return "a list of booleans";
    case Kind::ScalarList: return "a list of numbers";
    case Kind::Unsupported: break;
  }
  return "left out (its type has no JavaScript form)";
}

c10::IValue to_ivalue(const Call& call, const ArgPlan& plan, napi_value value) {
  const napi_env env = call.env;
  switch (plan.kind) {
    case Kind::Tensor: return to_tensor(call, plan, value);
    case Kind::Scalar: return to_scalar(env, plan, value);
    case Kind::Int: return to_int(env, plan, value);
    case Kind::ScalarType: {
      const int64_t number = to_int(env, plan, value);
      if (!is_dtype(number)) wrong(plan);
      return number;
    }
    case Kind::Layout: return to_below(env, plan, value, static_cast<int64_t>(at::Layout::NumOptions));
    case Kind::MemoryFormat:
      return to_below(env, plan, value, static_cast<int64_t>(at::MemoryFormat::ChannelsLast3d) + 1);
    case Kind::Float: return to_double(env, plan, value);
    case Kind::Bool: return to_bool(env, plan, value);
    case Kind::String: {
      napi_valuetype type;
      napi_typeof(env, value, &type);
      if (type != napi_string) wrong(plan);
      return to_string(env, value);
    }
    case Kind::Device: {
      napi_valuetype type;
      napi_typeof(env, value, &type);
      if (type != napi_string) wrong(plan);
      return c10::Device(to_string(env, value));
    }
    case Kind::TensorList: {
      c10::List<at::Tensor> list;
      each(call, plan, value, [&](napi_value e) { list.push_back(to_tensor(call, plan, e)); });
      return list;
    }
    case Kind::OptionalTensorList: {
      c10::List<optional<at::Tensor>> list;
      each(call, plan, value, [&](napi_value e) {
        list.push_back(is_nullish(env, e) ? optional<at::Tensor>()
                                          : optional<at::Tensor>(to_tensor(call, plan, e)));
      });
      return list;
    }
    case Kind::IntList: return to_int_list(call, plan, value);
    case Kind::FloatList: {
      std::vector<double> list;
      each(call, plan, value, [&](napi_value e) { list.push_back(to_double(env, plan, e)); });
      return c10::IValue(std::move(list));
    }
    case Kind::BoolList: {
      c10::List<bool> list;
      each(call, plan, value, [&](napi_value e) { list.push_back(to_bool(env, plan, e)); });
      return list;
    }
    case Kind::ScalarList: {
      c10::List<c10::IValue> list(c10::NumberType::get());
      each(call, plan, value, [&](napi_value e) { list.push_back(to_scalar(env, plan, e)); });
      return c10::IValue(c10::impl::toTypedList<at::Scalar>(std::move(list)));
    }
    case Kind::Generator:
    case Kind::Unsupported: break;
  }
  wrong(plan);
}

napi_value to_js(const Call& call, c10::IValue&& value) {
  const napi_env env = call.env;
  if (value.isTensor()) {
    at::Tensor tensor = std::move(value).toTensor();
    if (tensor.defined()) return call.handle(std::move(tensor));
  } else if (value.isInt()) {
    return make_number(env, static_cast<double>(value.toInt()));
  } else if (value.isDouble()) {
    return make_number(env, value.toDouble());
  } else if (value.isBool()) {
    return make_bool(env, value.toBool());
  } else if (value.isString()) {
    return make_string(env, value.toStringRef());
  } else if (value.isDevice()) {
    return make_string(env, value.toDevice().str());
  } else if (value.isTensorList()) {
    auto tensors = value.toTensorVector();
    napi_value list = make_list(call, tensors.size());
    for (size_t i = 0; i < tensors.size(); i++) {
      napi_set_element(env, list, i, call.handle(std::move(tensors[i])));
    }
    return list;
  } else if (value.isIntList()) {
    const auto ints = value.toIntVector();
    napi_value list = make_list(call, ints.size());
    for (size_t i = 0; i < ints.size(); i++) {
      napi_set_element(env, list, i, make_number(env, static_cast<double>(ints[i])));
    }
    return list;
  } else if (!value.isNone()) {
    throw JsError("a result of type " + value.tagKind() + " has no JavaScript form");
  }
  napi_value null;
  napi_get_null(env, &null);
  return null;
}

}  // namespace vigorl
