// See cuda.h. Each is one pass over memory where libtorch takes several: SwiGLU and its derivative, heads
// rotated and laid apart and back, and the heads of a step with their keys and values stored in a cache of
// rows. A thread works on eight numbers, sixteen bytes; sums are in float32.
#include "cuda.h"

#include "kernels.h"

#ifdef VIGORL_CUDA_GRAPHS
#include <c10/core/DeviceGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <dlfcn.h>

#include <map>
#include <mutex>
#endif

namespace vigorl {

#ifdef VIGORL_CUDA_GRAPHS

namespace {

const char* const source = R"cuda(
typedef unsigned short half_t;
typedef long long index_t;

struct Eight { float at[8]; };

__device__ float wide(unsigned int bits) { return __uint_as_float(bits << 16); }

// Rounds to the nearest, ties to even; NaN stays NaN.
__device__ unsigned int narrow(float x) {
  unsigned int bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fc0u;
  return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

__device__ Eight load(const half_t* from) {
  const uint4 words = *reinterpret_cast<const uint4*>(from);
  const unsigned int all[4] = {words.x, words.y, words.z, words.w};
  Eight x;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    x.at[2 * i] = wide(all[i] & 0xffffu);
    x.at[2 * i + 1] = wide(all[i] >> 16);
  }
  return x;
}

__device__ void store(half_t* to, const Eight& x) {
  unsigned int all[4];
#pragma unroll
  for (int i = 0; i < 4; i++) all[i] = narrow(x.at[2 * i]) | (narrow(x.at[2 * i + 1]) << 16);
  *reinterpret_cast<uint4*>(to) = make_uint4(all[0], all[1], all[2], all[3]);
}

__device__ float sigmoid(float x) { return 1.0f / (1.0f + __expf(-x)); }

// Rows of x hold `width` gates and then as many ups.
extern "C" __global__ void swiglu(const half_t* x, half_t* y, index_t rows, index_t width) {
  const index_t i = (blockIdx.x * (index_t)blockDim.x + threadIdx.x) * 8;
  if (i >= rows * width) return;
  const index_t at = i / width * 2 * width + i % width;
  const Eight gate = load(x + at), up = load(x + at + width);
  Eight out;
#pragma unroll
  for (int k = 0; k < 8; k++) out.at[k] = gate.at[k] * sigmoid(gate.at[k]) * up.at[k];
  store(y + i, out);
}

extern "C" __global__ void swiglu_grad(const half_t* dy, const half_t* x, half_t* dx, index_t rows,
                                       index_t width) {
  const index_t i = (blockIdx.x * (index_t)blockDim.x + threadIdx.x) * 8;
  if (i >= rows * width) return;
  const index_t at = i / width * 2 * width + i % width;
  const Eight gate = load(x + at), up = load(x + at + width), d = load(dy + i);
  Eight dgate, dup;
#pragma unroll
  for (int k = 0; k < 8; k++) {
    const float open = sigmoid(gate.at[k]);
    dgate.at[k] = d.at[k] * up.at[k] * open * (1.0f + gate.at[k] * (1.0f - open));
    dup.at[k] = d.at[k] * gate.at[k] * open;
  }
  store(dx + at, dgate);
  store(dx + at + width, dup);
}

// Four neighbouring pairs turned by complex factors, back where `sign` is -1.
__device__ Eight turned(const Eight& x, const float2* by, float sign) {
  Eight out;
#pragma unroll
  for (int k = 0; k < 4; k++) {
    const float re = x.at[2 * k], im = x.at[2 * k + 1];
    const float c = by[k].x, s = sign * by[k].y;
    out.at[2 * k] = re * c - im * s;
    out.at[2 * k + 1] = re * s + im * c;
  }
  return out;
}

// A row of qkv is queries, keys, values of nq, nk, nk numbers, in heads of `size`.
extern "C" __global__ void heads(const half_t* qkv, const float2* factors, half_t* q, half_t* k, half_t* v,
                                 index_t rows, index_t nq, index_t nk, index_t size) {
  const index_t width = nq + 2 * nk;
  const index_t i = (blockIdx.x * (index_t)blockDim.x + threadIdx.x) * 8;
  if (i >= rows * width) return;
  const index_t row = i / width, column = i % width;
  const Eight x = load(qkv + i);
  const float2* by = factors + row * (size / 2) + column % size / 2;
  if (column < nq) store(q + row * nq + column, turned(x, by, 1.0f));
  else if (column < nq + nk) store(k + row * nk + column - nq, turned(x, by, 1.0f));
  else store(v + row * nk + column - nq - nk, x);
}

extern "C" __global__ void heads_grad(const half_t* q, const half_t* k, const half_t* v,
                                      const float2* factors, half_t* qkv, index_t rows, index_t nq,
                                      index_t nk, index_t size) {
  const index_t width = nq + 2 * nk;
  const index_t i = (blockIdx.x * (index_t)blockDim.x + threadIdx.x) * 8;
  if (i >= rows * width) return;
  const index_t row = i / width, column = i % width;
  const float2* by = factors + row * (size / 2) + column % size / 2;
  if (column < nq) store(qkv + i, turned(load(q + row * nq + column), by, -1.0f));
  else if (column < nq + nk) store(qkv + i, turned(load(k + row * nk + column - nq), by, -1.0f));
  else store(qkv + i, load(v + row * nk + column - nq - nk));
}

// As heads, but keys and values go to rows of a cache, [any, 2 nk], and factors are looked up.
extern "C" __global__ void cache_heads(const half_t* qkv, const float2* factors, const index_t* turns,
                                       const index_t* places, half_t* q, half_t* cache, index_t rows,
                                       index_t nq, index_t nk, index_t size) {
  const index_t width = nq + 2 * nk;
  const index_t i = (blockIdx.x * (index_t)blockDim.x + threadIdx.x) * 8;
  if (i >= rows * width) return;
  const index_t row = i / width, column = i % width;
  const Eight x = load(qkv + i);
  const index_t turn = turns == nullptr ? row : turns[row];
  const float2* by = factors + turn * (size / 2) + column % size / 2;
  half_t* held = cache + places[row] * 2 * nk;
  if (column < nq) store(q + row * nq + column, turned(x, by, 1.0f));
  else if (column < nq + nk) store(held + column - nq, turned(x, by, 1.0f));
  else store(held + column - nq, x);
}
)cuda";

// What is called of the driver and of NVRTC; both are there wherever libtorch runs on a GPU.
struct Library {
  int (*create)(void**, const char*, const char*, int, const char* const*, const char* const*);
  int (*compile)(void*, int, const char* const*);
  int (*log_size)(void*, size_t*);
  int (*log)(void*, char*);
  int (*binary_size)(void*, size_t*);
  int (*binary)(void*, char*);
  int (*load)(void**, const void*);
  int (*function)(void**, void*, const char*);
  int (*launch)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**,
                void**);
  int (*device)(int*);
  int (*attribute)(int*, int, int);

  static const Library& get() {
    static const Library library = open();
    return library;
  }

 private:
  static Library open() {
    void* handle = dlopen("libcaffe2_nvrtc.so", RTLD_LAZY | RTLD_LOCAL);
    TORCH_CHECK(handle != nullptr, "libtorch came without its compiler for kernels: ", dlerror());
    Library to{};
    auto find = [&](auto& function, const char* name) {
      void* symbol = dlsym(handle, name);
      TORCH_CHECK(symbol != nullptr, "no ", name, " in the CUDA libraries");
      function = reinterpret_cast<std::decay_t<decltype(function)>>(symbol);
    };
    find(to.create, "nvrtcCreateProgram");
    find(to.compile, "nvrtcCompileProgram");
    find(to.log_size, "nvrtcGetProgramLogSize");
    find(to.log, "nvrtcGetProgramLog");
    find(to.binary_size, "nvrtcGetCUBINSize");
    find(to.binary, "nvrtcGetCUBIN");
    find(to.load, "cuModuleLoadData");
    find(to.function, "cuModuleGetFunction");
    find(to.launch, "cuLaunchKernel");
    find(to.device, "cuCtxGetDevice");
    find(to.attribute, "cuDeviceGetAttribute");
    return to;
  }
};

void require(int status, const char* what) {
  TORCH_CHECK(status == 0, what, " failed with status ", status);
}

// The kernels as one module of a device, compiled for what it is.
class Module {
 public:
  explicit Module(c10::DeviceIndex device) {
    const c10::DeviceGuard on(c10::Device(c10::kCUDA, device));
    // The first tensor makes the device's context the thread's.
    at::empty({1}, at::TensorOptions().device(c10::Device(c10::kCUDA, device)));
    const Library& library = Library::get();
    int number = 0, major = 0, minor = 0;
    require(library.device(&number), "cuCtxGetDevice");
    require(library.attribute(&major, 75, number), "cuDeviceGetAttribute");
    require(library.attribute(&minor, 76, number), "cuDeviceGetAttribute");
    const std::string target = "--gpu-architecture=sm_" + std::to_string(10 * major + minor);
    const char* const options[] = {target.c_str()};
    void* program = nullptr;
    require(library.create(&program, source, "vigorl.cu", 0, nullptr, nullptr), "nvrtcCreateProgram");
    if (library.compile(program, 1, options) != 0) {
      size_t size = 0;
      library.log_size(program, &size);
      std::string log(size, '\0');
      library.log(program, log.data());
      TORCH_CHECK(false, "the kernels do not compile for ", target, ": ", log);
    }
    size_t size = 0;
    require(library.binary_size(program, &size), "nvrtcGetCUBINSize");
    std::string binary(size, '\0');
    require(library.binary(program, binary.data()), "nvrtcGetCUBIN");
    require(library.load(&module_, binary.data()), "cuModuleLoadData");
    for (const char* name : {"swiglu", "swiglu_grad", "heads", "heads_grad", "cache_heads"}) {
      require(library.function(&functions_[name], module_, name), name);
    }
  }

  void* find(const char* name) const { return functions_.at(name); }

  static const Module& of(c10::DeviceIndex device) {
    static std::mutex making;
    static std::map<c10::DeviceIndex, std::unique_ptr<Module>> made;
    const std::lock_guard<std::mutex> lock(making);
    auto& module = made[device];
    if (module == nullptr) module = std::make_unique<Module>(device);
    return *module;
  }

 private:
  void* module_ = nullptr;
  std::map<std::string, void*> functions_;
};

// Runs a kernel on the current stream, a thread for eight numbers of `count`.
template <typename... Args>
void launch(const at::Tensor& on, const char* name, int64_t count, Args... args) {
  if (count == 0) return;
  const c10::DeviceGuard guard(on.device());
  constexpr int64_t threads = 256;
  const int64_t blocks = (count / 8 + threads - 1) / threads;
  TORCH_CHECK(blocks <= INT32_MAX, name, ": too many numbers");
  void* pointers[] = {&args...};
  void* stream = c10::cuda::getCurrentCUDAStream(on.get_device()).stream();
  require(Library::get().launch(Module::of(on.get_device()).find(name), static_cast<unsigned>(blocks), 1, 1,
                                threads, 1, 1, 0, stream, pointers, nullptr),
          name);
}

at::Tensor dense(const at::Tensor& x, const char* what) {
  TORCH_CHECK(x.is_cuda() && x.scalar_type() == at::kBFloat16, what, " must be bfloat16 on a GPU");
  const at::Tensor y = x.contiguous();
  // A view may begin anywhere; sixteen bytes are read at once.
  return reinterpret_cast<uintptr_t>(y.data_ptr()) % 16 == 0 ? y : y.clone();
}

const void* data(const at::Tensor& x) { return x.data_ptr(); }

at::Tensor swiglu_cuda(const at::Tensor& x_any) {
  const at::Tensor x = dense(x_any, "x");
  TORCH_CHECK(x.dim() >= 1 && x.size(-1) % 16 == 0, "gates and ups must be eights of one width");
  std::vector<int64_t> shape = x.sizes().vec();
  const int64_t width = shape.back() /= 2, rows = width == 0 ? 0 : x.numel() / (2 * width);
  at::Tensor y = at::empty(shape, x.options());
  launch(x, "swiglu", rows * width, data(x), data(y), rows, width);
  return y;
}

at::Tensor swiglu_grad_cuda(const at::Tensor& dy_any, const at::Tensor& x) {
  const at::Tensor dy = dense(dy_any, "the gradient");
  const int64_t width = dy.size(-1), rows = width == 0 ? 0 : dy.numel() / width;
  at::Tensor dx = at::empty_like(x);
  launch(x, "swiglu_grad", rows * width, data(dy), data(x), data(dx), rows, width);
  return dx;
}

struct Sizes {
  int64_t rows, nq, nk, size;
  int64_t count() const { return rows * (nq + 2 * nk); }
};

Sizes sizes_of(const at::Tensor& qkv, const at::Tensor& factors, int64_t queries, int64_t keys) {
  TORCH_CHECK(qkv.dim() == 2 && queries > 0 && keys > 0 && qkv.size(1) % (queries + 2 * keys) == 0,
              "qkv must be [N, (H + 2 KV) D] with at least one head of each");
  const int64_t size = qkv.size(1) / (queries + 2 * keys);
  TORCH_CHECK(size % 8 == 0, "heads must be eights of numbers");
  TORCH_CHECK(factors.is_cuda() && factors.scalar_type() == at::kComplexFloat && factors.is_contiguous() &&
                  factors.dim() == 2 && factors.size(1) == size / 2,
              "the factors must be complex [any, ", size / 2, "], without gaps");
  return {qkv.size(0), queries * size, keys * size, size};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> heads_cuda(const at::Tensor& qkv_any,
                                                          const at::Tensor& factors, int64_t queries,
                                                          int64_t keys) {
  const at::Tensor qkv = dense(qkv_any, "qkv");
  const Sizes s = sizes_of(qkv, factors, queries, keys);
  TORCH_CHECK(factors.size(0) == s.rows, "the factors must be of ", s.rows, " rows");
  at::Tensor q = at::empty({s.rows, queries, s.size}, qkv.options());
  at::Tensor k = at::empty({s.rows, keys, s.size}, qkv.options());
  at::Tensor v = at::empty_like(k);
  launch(qkv, "heads", s.count(), data(qkv), data(factors), data(q), data(k), data(v), s.rows, s.nq, s.nk,
         s.size);
  return {q, k, v};
}

at::Tensor heads_grad_cuda(const at::Tensor& dq, const at::Tensor& dk, const at::Tensor& dv,
                           const at::Tensor& factors) {
  const at::Tensor q = dense(dq, "the gradient"), k = dense(dk, "the gradient"),
                   v = dense(dv, "the gradient");
  const int64_t rows = q.size(0), size = q.size(2), nq = q.size(1) * size, nk = k.size(1) * size;
  at::Tensor qkv = at::empty({rows, nq + 2 * nk}, q.options());
  launch(q, "heads_grad", qkv.numel(), data(q), data(k), data(v), data(factors), data(qkv), rows, nq, nk,
         size);
  return qkv;
}

struct HeadsOnGpu : torch::autograd::Function<HeadsOnGpu> {
  static variable_list forward(AutogradContext* context, const at::Tensor& qkv, const at::Tensor& factors,
                               int64_t queries, int64_t keys) {
    at::AutoDispatchBelowADInplaceOrView guard;
    auto [q, k, v] = heads_cuda(qkv, factors, queries, keys);
    context->save_for_backward({factors});
    return {q, k, v};
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const at::Tensor factors = context->get_saved_variables()[0];
    return {heads_grad_cuda(grads[0], grads[1], grads[2], factors), at::Tensor(), at::Tensor(),
            at::Tensor()};
  }
};

struct SwigluOnGpu : torch::autograd::Function<SwigluOnGpu> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x_any) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const at::Tensor x = dense(x_any, "x");
    context->save_for_backward({x});
    return swiglu_cuda(x);
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    return {swiglu_grad_cuda(grads[0], context->get_saved_variables()[0])};
  }
};

// Queries [N, H, D] of projected rows; their keys and values go to rows `places` of the cache.
at::Tensor cache_heads(const at::Tensor& qkv_any, const at::Tensor& factors,
                       const optional<at::Tensor>& turns, const at::Tensor& places, const at::Tensor& cache,
                       int64_t queries, int64_t keys) {
  const at::Tensor qkv = dense(qkv_any, "qkv");
  const Sizes s = sizes_of(qkv, factors, queries, keys);
  for (const at::Tensor& index : {places, turns.value_or(places)}) {
    TORCH_CHECK(index.is_cuda() && index.scalar_type() == at::kLong && index.is_contiguous() &&
                    index.numel() == s.rows,
                "places and turns must be int64 [N]");
  }
  TORCH_CHECK(turns.has_value() || factors.size(0) == s.rows, "the factors must be of ", s.rows, " rows");
  TORCH_CHECK(cache.is_contiguous() && cache.scalar_type() == at::kBFloat16 && cache.dim() == 2 &&
                  cache.size(1) == 2 * s.nk && reinterpret_cast<uintptr_t>(cache.data_ptr()) % 16 == 0,
              "the cache must be bfloat16 [any, ", 2 * s.nk, "], without gaps");
  at::Tensor q = at::empty({s.rows, queries, s.size}, qkv.options());
  launch(qkv, "cache_heads", s.count(), data(qkv), data(factors),
         turns.has_value() ? data(*turns) : static_cast<const void*>(nullptr), data(places), data(q),
         data(cache), s.rows, s.nq, s.nk, s.size);
  return q;
}

TORCH_LIBRARY_IMPL(vigorl, CUDA, library) {
  library.impl("swiglu", swiglu_cuda);
  library.impl("cache_heads", cache_heads);
  library.impl("heads_flat", heads_cuda);
}

TORCH_LIBRARY_IMPL(vigorl, AutogradCUDA, library) {
  library.impl("swiglu", [](const at::Tensor& x) { return SwigluOnGpu::apply(x); });
  library.impl("heads_flat", [](const at::Tensor& qkv, const at::Tensor& factors, int64_t queries,
                                int64_t keys) {
    const auto parts = HeadsOnGpu::apply(qkv, factors, queries, keys);
    return std::make_tuple(parts[0], parts[1], parts[2]);
  });
  library.impl("cache_heads", torch::CppFunction::makeFromBoxedFunction<&refuse_gradients>());
}

}  // namespace

std::string cuda_kernels_fault() {
  try {
    Module::of(c10::cuda::getCurrentCUDAStream().device_index());
    return "";
  } catch (const std::exception& error) {
    return std::string(error.what()).substr(0, 2000);
  }
}

#else

std::string cuda_kernels_fault() { return "the addon was built without the headers of the CUDA runtime"; }

#endif

namespace {

TORCH_LIBRARY_FRAGMENT(vigorl, library) {
  library.def("heads_flat(Tensor qkv, Tensor factors, int queries, int keys) -> (Tensor, Tensor, Tensor)");
  library.def(
      "cache_heads(Tensor qkv, Tensor factors, Tensor? turns, Tensor places, Tensor(a!) cache, int queries, "
      "int keys) -> Tensor");
}

}  // namespace

}  // namespace vigorl
