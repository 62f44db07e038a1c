// Tensors between the JavaScript environments of one process: one thread puts a tensor on the table,
// others take it from there by its number. All of them then see the same memory.
#include "env.h"

#include <mutex>
#include <unordered_map>

namespace vigorl {

namespace {

struct Offer {
  at::Tensor tensor;
  int64_t uses;
};

std::mutex mutex;
std::unordered_map<int64_t, Offer> offers;
int64_t next_offer = 1;

// offer(handle, uses) -> number under which `uses` calls of `take` find the tensor's memory.
napi_value offer(Call& call) {
  const at::Tensor tensor = call.tensor(0).detach();
  const int64_t uses = call.integer(1);
  if (uses < 1) throw JsError("a tensor must be offered at least once");
  std::lock_guard<std::mutex> lock(mutex);
  offers[next_offer] = {tensor, uses};
  return make_number(call.env, static_cast<double>(next_offer++));
}

// take(number) -> handle of a tensor of this environment on the same memory.
napi_value take(Call& call) {
  const int64_t number = call.integer(0);
  at::Tensor tensor;
  {
    std::lock_guard<std::mutex> lock(mutex);
    const auto found = offers.find(number);
    if (found == offers.end()) throw JsError("no tensor is offered as " + std::to_string(number));
    tensor = found->second.tensor.detach();
    if (--found->second.uses == 0) offers.erase(found);
  }
  return call.handle(std::move(tensor));
}

}  // namespace

void register_share(napi_env env, napi_value exports) {
  expose<offer>(env, exports, "offer");
  expose<take>(env, exports, "take");
}

}  // namespace vigorl
