// An operator as the dispatcher knows it, with a plan for converting its arguments that is made
// once, from its schema, when JavaScript first asks for it.
#pragma once

#include "env.h"

namespace vigorl {

enum class Kind {
  Tensor,
  Scalar,
  Int,
  Float,
  Bool,
  String,
  ScalarType,
  Layout,
  MemoryFormat,
  Device,
  Generator,
  TensorList,
  OptionalTensorList,
  IntList,
  FloatList,
  BoolList,
  ScalarList,
  Unsupported,
};

struct ArgPlan {
  Kind kind;
  bool nullable;
  bool has_default;
  c10::IValue default_value;
  int32_t broadcast;  // int[2] takes one number for both; 0 where it does not
  std::string name;
};

struct Op {
  std::string name;  // "aten::add.Tensor"
  optional<c10::OperatorHandle> handle;  // empty: this libtorch has no such operator
  std::vector<ArgPlan> args;
};

// What a schema type asks for; sets `nullable` for an optional type.
Kind kind_of(c10::TypePtr type, bool& nullable);
const char* kind_name(Kind kind);

// A JavaScript value as the argument `plan` describes it. Throws JsError naming the argument.
c10::IValue to_ivalue(const Call& call, const ArgPlan& plan, napi_value value);

// A result of an operator as a JavaScript value; tensors become new handles.
napi_value to_js(const Call& call, c10::IValue&& value);

}  // namespace vigorl
