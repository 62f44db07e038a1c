// The one generic way in: look an operator up once by name and overload, then call it by its index
// with JavaScript values. Kernels, autograd and devices are libtorch's own business from there on.
#include "tape.h"

namespace vigorl {

namespace {

// op(name, overload) -> index. An operator that this libtorch lacks gets an index too; calling it
// says so, which keeps look-ups free of conditions.
napi_value op(Call& call) {
  const std::string name = call.string(0);
  const std::string overload = call.missing(1) ? "" : call.string(1);
  auto entry = std::make_unique<Op>();
  entry->name = overload.empty() ? name : name + "." + overload;
  auto found = c10::Dispatcher::singleton().findSchema({name, overload});
  if (found) {
    entry->handle = *found;
    for (const c10::Argument& argument : found->schema().arguments()) {
      ArgPlan plan;
      plan.name = argument.name();
      plan.nullable = false;
      plan.kind = kind_of(argument.real_type(), plan.nullable);
      plan.has_default = argument.default_value().has_value();
      if (plan.has_default) plan.default_value = *argument.default_value();
      plan.broadcast = argument.N() ? *argument.N() : 0;
      entry->args.push_back(std::move(plan));
    }
  }
  call.state->ops.push_back(std::move(entry));
  return make_number(call.env, static_cast<double>(call.state->ops.size() - 1));
}

const Op& find(Call& call) {
  uint32_t index = 0;
  if (call.argc == 0 || napi_get_value_uint32(call.env, call.args[0], &index) != napi_ok ||
      index >= call.state->ops.size()) {
    throw JsError("no such operator index");
  }
  const Op& op = *call.state->ops[index];
  if (!op.handle) {
    throw JsError(op.name + ": this libtorch (" TORCH_VERSION ") has no such operator");
  }
  return op;
}

bool is_undefined(const Call& call, size_t i) {
  napi_valuetype type;
  napi_typeof(call.env, call.args[i], &type);
  return type == napi_undefined;
}

// Pushes the default of an argument that JavaScript left out.
void push_default(std::vector<c10::IValue>& stack, const ArgPlan& plan) {
  if (plan.has_default) {
    stack.push_back(plan.default_value);
  } else if (plan.nullable) {
    stack.emplace_back();
  } else {
    throw JsError("argument '" + plan.name + "' is missing, it must be " + kind_name(plan.kind));
  }
}

std::string describe_args(const std::vector<c10::IValue>& stack) {
  std::string text;
  for (const auto& value : stack) {
    if (value.isTensor()) {
      text += (text.empty() ? "" : ", ") + describe(value.toTensor());
    } else if (value.isTensorList()) {
      const auto tensors = value.toTensorVector();
      text += text.empty() ? "(" : ", (";
      for (size_t i = 0; i < tensors.size() && i < 6; i++) {
        text += (i ? ", " : "") + describe(tensors[i]);
      }
      text += tensors.size() > 6 ? ", …)" : ")";
    } else if (value.isInt()) {
      text += (text.empty() ? "" : ", ") + std::to_string(value.toInt());
    } else if (value.isIntList()) {
      text += text.empty() ? "[" : ", [";
      const auto ints = value.toIntVector();
      for (size_t i = 0; i < ints.size(); i++) text += (i ? "," : "") + std::to_string(ints[i]);
      text += "]";
    }
  }
  return text.empty() ? "" : " (" + text + ")";
}

// Converts, calls, and leaves the results on the environment's stack.
void invoke(Call& call) {
  const Op& op = find(call);
  auto& stack = call.state->stack;
  stack.clear();
  std::string message;
  std::vector<c10::IValue> before;
  try {
    // What is left out at the end may be unknown to an older libtorch.
    while (call.argc - 1 > op.args.size() && is_undefined(call, call.argc - 1)) call.argc--;
    if (call.argc - 1 > op.args.size()) {
      throw JsError("takes " + std::to_string(op.args.size()) + " arguments, got " +
                    std::to_string(call.argc - 1));
    }
    for (size_t i = 0; i < op.args.size(); i++) {
      const ArgPlan& plan = op.args[i];
      if (i + 1 >= call.argc) {
        push_default(stack, plan);
        continue;
      }
      napi_valuetype type;
      napi_typeof(call.env, call.args[i + 1], &type);
      if (type == napi_undefined) {
        push_default(stack, plan);
      } else if (type == napi_null) {
        if (!plan.nullable && plan.kind != Kind::Generator) {
          throw JsError("argument '" + plan.name + "' must be " + kind_name(plan.kind));
        }
        stack.emplace_back();
      } else {
        stack.push_back(to_ivalue(call, plan, call.args[i + 1]));
      }
    }
    // A getter among the arguments may have run operators of its own, on the same stack.
    if (stack.size() != op.args.size()) throw JsError("its arguments call operators themselves");
  } catch (const JsError& error) {
    throw JsError(op.name + ": " + error.what());
  } catch (const c10::Error& error) {
    throw JsError(op.name + ": " + first_lines(error.what_without_backtrace()));
  }
  try {
    Tape* tape = call.state->recording.get();
    if (tape != nullptr) tape->before(stack);
    op.handle->callBoxed(&stack);
    if (tape != nullptr) tape->after(op, stack);
    return;
  } catch (const c10::Error& error) {
    message = error.what_without_backtrace();
  } catch (const std::exception& error) {
    message = error.what();
  }
  // The stack was consumed by the call: convert the arguments once more to describe them.
  stack.clear();
  for (size_t i = 0; i < op.args.size() && i + 1 < call.argc; i++) {
    if (is_nullish(call.env, call.args[i + 1])) continue;
    stack.push_back(to_ivalue(call, op.args[i], call.args[i + 1]));
  }
  throw JsError(op.name + ": " + first_lines(message) + describe_args(stack));
}

// call(op, ...args) -> the result; several results come as a list.
napi_value call_op(Call& call) {
  invoke(call);
  auto& stack = call.state->stack;
  napi_value result;
  if (stack.size() == 1) {
    result = to_js(call, std::move(stack[0]));
  } else {
    check(napi_create_array_with_length(call.env, stack.size(), &result), "results");
    for (size_t i = 0; i < stack.size(); i++) {
      napi_set_element(call.env, result, i, to_js(call, std::move(stack[i])));
    }
  }
  stack.clear();
  return result;
}

// run(op, ...args): the same for operators that work in place; results are dropped.
napi_value run_op(Call& call) {
  invoke(call);
  call.state->stack.clear();
  return make_undefined(call.env);
}

// hasOp(name, overload) -> boolean
napi_value has_op(Call& call) {
  const std::string overload = call.missing(1) ? "" : call.string(1);
  return make_bool(call.env,
                   c10::Dispatcher::singleton().findSchema({call.string(0), overload}).has_value());
}

// schema(name, overload) -> its text as libtorch prints it, or null
napi_value schema(Call& call) {
  const std::string overload = call.missing(1) ? "" : call.string(1);
  auto found = c10::Dispatcher::singleton().findSchema({call.string(0), overload});
  if (!found) {
    napi_value null;
    napi_get_null(call.env, &null);
    return null;
  }
  std::ostringstream text;
  text << found->schema();
  return make_string(call.env, text.str());
}

}  // namespace

void register_dispatch(napi_env env, napi_value exports) {
  expose<op>(env, exports, "op");
  expose<call_op>(env, exports, "call");
  expose<run_op>(env, exports, "run");
  expose<has_op>(env, exports, "hasOp");
  expose<schema>(env, exports, "schema");
}

}  // namespace vigorl
