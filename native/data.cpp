// Tensor handles and the bytes behind them: in from typed arrays, out to them, shape and type
// queries, release, and the counters that make leaks visible.
#include "env.h"

#include <ATen/Functions.h>

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <unordered_set>

namespace vigorl {

namespace {

// As many bytes as an ArrayBuffer of every supported Node holds; asking for more may end the process.
constexpr size_t kMaxBuffer = size_t{1} << 32;

// The bytes of a typed array or ArrayBuffer.
std::pair<void*, size_t> bytes_of(const Call& call, size_t i) {
  void* data = nullptr;
  size_t length = 0;
  bool is = false;
  if (i >= call.argc) throw JsError("a typed array is needed");
  napi_is_typedarray(call.env, call.args[i], &is);
  if (is) {
    napi_typedarray_type type;
    check(napi_get_typedarray_info(call.env, call.args[i], &type, &length, &data, nullptr, nullptr),
          "typed array");
    switch (type) {
      case napi_int16_array:
      case napi_uint16_array: return {data, length * 2};
      case napi_int32_array:
      case napi_uint32_array:
      case napi_float32_array: return {data, length * 4};
      case napi_float64_array:
      case napi_bigint64_array:
      case napi_biguint64_array: return {data, length * 8};
      default: return {data, length};
    }
  }
  napi_is_arraybuffer(call.env, call.args[i], &is);
  if (!is) throw JsError("a typed array is needed");
  check(napi_get_arraybuffer_info(call.env, call.args[i], &data, &length), "buffer");
  return {data, length};
}

// Bytes of a tensor of this shape and type.
size_t bytes_for(const std::vector<int64_t>& shape, at::ScalarType type) {
  size_t length = c10::elementSize(type);
  for (const int64_t size : shape) {
    if (size < 0) throw JsError("a shape must not have negative sizes");
    if (size > 0 && length > std::numeric_limits<int64_t>::max() / static_cast<size_t>(size)) {
      throw JsError("the shape has more elements than can be counted");
    }
    length *= static_cast<size_t>(size);
  }
  return length;
}

// fromBytes(bytes, shape, dtype, device?) -> handle. Copies; the byte count must fit exactly.
napi_value from_bytes(Call& call) {
  // First what may run getters: they could take the bytes away.
  const auto shape = call.integers(1);
  const auto options = at::TensorOptions().dtype(call.dtype(2));
  const auto [data, length] = bytes_of(call, 0);
  const size_t needed = bytes_for(shape, call.dtype(2));
  if (needed != length) {
    throw JsError("the data has " + std::to_string(length) + " bytes, the shape needs " +
                  std::to_string(needed));
  }
  at::Tensor tensor = at::empty(shape, options);
  if (length > 0) std::memcpy(tensor.data_ptr(), data, length);
  if (!call.missing(3)) tensor = tensor.to(c10::Device(call.string(3)));
  return call.handle(std::move(tensor));
}

// A tensor over pages of memory that are the system's again when it goes.
at::Tensor over_pages(void* pages, size_t before, size_t length, const std::vector<int64_t>& shape,
                      at::ScalarType type) {
  const size_t mapped = before + length;
  const auto unmap = [pages, mapped](void*) { munmap(pages, mapped); };
  return at::from_blob(static_cast<char*>(pages) + before, shape, unmap, at::TensorOptions().dtype(type));
}

// mapFile(fd, offset, shape, dtype) -> handle on the CPU: the elements as they lie in a file, read when they
// are first touched and for as long as the tensor lives. What is written to it stays in memory. What cannot
// be mapped is read. The caller has made sure that the file is long enough.
napi_value map_file(Call& call) {
  const int fd = static_cast<int>(call.integer(0));
  const int64_t offset = call.integer(1);
  const auto shape = call.integers(2);
  const auto type = call.dtype(3);
  const size_t length = bytes_for(shape, type);
  if (offset < 0) throw JsError("the offset must not be negative");
  if (length == 0) return call.handle(at::empty(shape, at::TensorOptions().dtype(type)));
  const size_t before = static_cast<size_t>(offset) % static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (before % c10::elementSize(type) == 0) {
    void* pages = mmap(nullptr, before + length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd,
                       static_cast<off_t>(offset - static_cast<int64_t>(before)));
    if (pages != MAP_FAILED) return call.handle(over_pages(pages, before, length, shape, type));
  }
  at::Tensor tensor = at::empty(shape, at::TensorOptions().dtype(type));
  char* to = static_cast<char*>(tensor.data_ptr());
  for (size_t done = 0; done < length;) {
    const ssize_t got = pread(fd, to + done, std::min<size_t>(length - done, 1 << 30),
                              static_cast<off_t>(offset + static_cast<int64_t>(done)));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw JsError(std::string("the file cannot be read: ") + std::strerror(errno));
    if (got == 0) throw JsError("the file ends early");
    done += static_cast<size_t>(got);
  }
  return call.handle(std::move(tensor));
}

// zeroPages(shape, dtype) -> handle on the CPU: zeros that take memory page by page as they are written to.
napi_value zero_pages(Call& call) {
  const auto shape = call.integers(0);
  const auto type = call.dtype(1);
  const size_t length = bytes_for(shape, type);
  if (length == 0) return call.handle(at::empty(shape, at::TensorOptions().dtype(type)));
  void* pages = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) {
    throw JsError("out of memory: " + std::to_string(length) + " bytes cannot be had");
  }
  return call.handle(over_pages(pages, 0, length, shape, type));
}

// setBytes(handle, bytes): overwrites a contiguous tensor; the byte count must fit exactly.
napi_value set_bytes(Call& call) {
  const at::Tensor& tensor = call.tensor(0);
  const auto [data, length] = bytes_of(call, 1);
  if (!tensor.is_contiguous()) throw JsError("bytes need a contiguous tensor to go to");
  if (tensor.nbytes() != length) {
    throw JsError("the data has " + std::to_string(length) + " bytes, " + describe(tensor) +
                  " needs " + std::to_string(tensor.nbytes()));
  }
  if (length == 0) return make_undefined(call.env);
  if (tensor.is_cpu()) {
    std::memcpy(tensor.data_ptr(), data, length);
  } else {
    tensor.copy_(at::from_blob(data, tensor.sizes(), tensor.options().device(c10::kCPU)));
  }
  return make_undefined(call.env);
}

// hugePages(handle, size): asks the system for pages of `size` bytes behind a tensor that nothing was
// written to yet, and returns the bytes before the first boundary of such pages. A hint: where it
// cannot be had, nothing changes.
napi_value huge_pages(Call& call) {
  const at::Tensor& tensor = call.tensor(0);
  const auto size = static_cast<uintptr_t>(std::max<int64_t>(0, call.integer(1)));
  if (!tensor.is_cpu() || !tensor.is_contiguous() || size == 0 || size > kMaxBuffer) return make_number(call.env, 0);
  const auto start = reinterpret_cast<uintptr_t>(tensor.data_ptr());
  const auto first = (start + size - 1) / size * size;
  const auto end = (start + tensor.nbytes()) / size * size;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (end > first) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#endif
  return make_number(call.env, end > first ? static_cast<double>(first - start) : 0);
}

// toBytes(handle) -> ArrayBuffer with the elements in row-major order. Copies, waits for the device.
napi_value to_bytes(Call& call) {
  if (call.tensor(0).nbytes() > kMaxBuffer) {
    throw JsError(describe(call.tensor(0)) + " has more bytes than an ArrayBuffer holds");
  }
  const at::Tensor tensor = call.tensor(0).detach().cpu().contiguous();
  void* data = nullptr;
  napi_value buffer;
  check(napi_create_arraybuffer(call.env, tensor.nbytes(), &data, &buffer), "buffer");
  if (tensor.nbytes() > 0) std::memcpy(data, tensor.data_ptr(), tensor.nbytes());
  return buffer;
}

// getBytes(handle, array): copies the elements in row-major order into an array of as many bytes.
napi_value get_bytes(Call& call) {
  const at::Tensor tensor = call.tensor(0).detach().cpu().contiguous();
  const auto [data, length] = bytes_of(call, 1);
  if (tensor.nbytes() != length) {
    throw JsError("the array has " + std::to_string(length) + " bytes, " + describe(tensor) +
                  " has " + std::to_string(tensor.nbytes()));
  }
  if (length > 0) std::memcpy(data, tensor.data_ptr(), length);
  return make_undefined(call.env);
}

// item(handle) -> number of a tensor with one element; booleans come as 0 and 1.
napi_value item(Call& call) {
  const at::Tensor& tensor = call.tensor(0);
  if (tensor.numel() != 1) {
    throw JsError("item() needs a tensor with one element, this is " + describe(tensor));
  }
  const at::Scalar scalar = tensor.item();
  if (scalar.isBoolean()) return make_number(call.env, scalar.toBool() ? 1 : 0);
  if (!scalar.isIntegral(false)) return make_number(call.env, scalar.toDouble());
  const int64_t value = scalar.toLong();
  if (value > 9007199254740991 || value < -9007199254740991) {
    throw JsError("item(): " + std::to_string(value) + " does not fit a JavaScript number");
  }
  return make_number(call.env, static_cast<double>(value));
}

napi_value list_of(const Call& call, at::IntArrayRef values) {
  napi_value list;
  check(napi_create_array_with_length(call.env, values.size(), &list), "list");
  for (size_t i = 0; i < values.size(); i++) {
    napi_set_element(call.env, list, i, make_number(call.env, static_cast<double>(values[i])));
  }
  return list;
}

napi_value shape(Call& call) { return list_of(call, call.tensor(0).sizes()); }
napi_value strides(Call& call) { return list_of(call, call.tensor(0).strides()); }

napi_value dtype(Call& call) {
  return make_number(call.env, static_cast<double>(call.tensor(0).scalar_type()));
}

napi_value device(Call& call) { return make_string(call.env, call.tensor(0).device().str()); }

napi_value contiguous(Call& call) { return make_bool(call.env, call.tensor(0).is_contiguous()); }

// release(handle): gives the slot back; a handle that was released before is ignored.
napi_value release(Call& call) {
  call.state->release(call.integer(0));
  return make_undefined(call.env);
}

// releaseMany(Int32Array, count): the same for the first `count` handles of the array.
napi_value release_many(Call& call) {
  const auto [data, length] = bytes_of(call, 0);
  const int64_t count = call.integer(1);
  if (count < 0 || static_cast<size_t>(count) > length / 4) throw JsError("count is too large");
  const auto* ids = static_cast<const int32_t*>(data);
  for (int64_t i = 0; i < count; i++) call.state->release(ids[i]);
  return make_undefined(call.env);
}

napi_value live_count(Call& call) {
  return make_number(call.env, static_cast<double>(call.state->live()));
}

// liveBytes() -> bytes of the distinct storages behind this environment's handles.
napi_value live_bytes(Call& call) {
  std::unordered_set<const void*> seen;
  double total = 0;
  for (const auto& tensor : call.state->slots) {
    if (!tensor.defined() || !tensor.has_storage()) continue;
    const auto& storage = tensor.storage();
    if (seen.insert(storage.unsafeGetStorageImpl()).second) total += storage.nbytes();
  }
  return make_number(call.env, total);
}

}  // namespace

void register_data(napi_env env, napi_value exports) {
  expose<from_bytes>(env, exports, "fromBytes");
  expose<map_file>(env, exports, "mapFile");
  expose<zero_pages>(env, exports, "zeroPages");
  expose<set_bytes>(env, exports, "setBytes");
  expose<huge_pages>(env, exports, "hugePages");
  expose<to_bytes>(env, exports, "toBytes");
  expose<get_bytes>(env, exports, "getBytes");
  expose<item>(env, exports, "item");
  expose<shape>(env, exports, "shape");
  expose<strides>(env, exports, "strides");
  expose<dtype>(env, exports, "dtype");
  expose<device>(env, exports, "device");
  expose<contiguous>(env, exports, "isContiguous");
  expose<release>(env, exports, "release");
  expose<release_many>(env, exports, "releaseMany");
  expose<live_count>(env, exports, "liveCount");
  expose<live_bytes>(env, exports, "liveBytes");
}

}  // namespace vigorl
