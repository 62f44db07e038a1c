// See cuda.h. Each is one pass over memory where libtorch takes several: SwiGLU and its derivative, heads
// rotated and laid apart and back, the heads of a prompt with their keys and values stored in a cache of
// rows, the attention of a decode step, and the draw of its tokens. A thread works on eight numbers,
// sixteen bytes, at a time; sums are in float32.
#include "cuda.h"

#include "kernels.h"

#ifdef VIGORL_CUDA_GRAPHS
#include <c10/core/DeviceGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <dlfcn.h>

#include <array>
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

// Sums over sixteen neighbouring lanes.
__device__ float over_sixteen(float x) {
#pragma unroll
  for (int half = 8; half > 0; half /= 2) x += __shfl_xor_sync(0xffffffffu, x, half);
  return x;
}

constexpr int kSize = 128;    // of a head
constexpr int kGroups = 8;    // query heads of a key-value head, at most
constexpr int kSpan = 512;    // positions of a block
constexpr int kWarps = 8;

// A new token of each of some sequences: its heads are rotated, its key and value stored in the cache, and
// its queries attend to all that its sequence then holds. A block has one key-value head and a span of
// positions; where there are several spans, the block that ends last puts them together. `partial` has
// kSize + 2 numbers for each row, key-value head, span and query head; `ended` is zero before and after.
extern "C" __global__ void __launch_bounds__(256)
attend_rows(const half_t* qkv, const float2* factors, const index_t* turns, const int* starts,
            const int* lengths, half_t* cache, half_t* out, float* partial, int* ended, int groups, int keys,
            float scale) {
  __shared__ float shared[kWarps * kGroups * kSize];
  __shared__ float tops[kGroups], totals[kGroups];
  __shared__ int is_last;
  float(*scores)[kGroups] = reinterpret_cast<float(*)[kGroups]>(shared);
  const int span = blockIdx.x, spans = gridDim.x, head = blockIdx.y, row = blockIdx.z;
  const int t = threadIdx.x, warp = t / 32, lane = t % 32, part = lane % 16;
  const int length = lengths[row];
  const int first = span * kSpan;
  if (first >= length) return;
  const int count = min(kSpan, length - first);
  const int active = (length + kSpan - 1) / kSpan;
  const index_t nq = (index_t)keys * groups * kSize, nk = (index_t)keys * kSize;
  const half_t* mine = qkv + row * (nq + 2 * nk);
  const float2* by = factors + turns[row] * (kSize / 2) + part * 4;
  // Of the span's first position; a position has 2 nk numbers.
  half_t* held = cache + ((index_t)starts[row] + first) * 2 * nk + head * kSize;

  if (first + count == length && warp == 0) {
    half_t* fresh = held + (index_t)(count - 1) * 2 * nk;
    const half_t* from = mine + nq + head * kSize + part * 8;
    if (lane < 16) store(fresh + part * 8, turned(load(from), by, 1.0f));
    else store(fresh + nk + part * 8, load(from + nk));
  }
  Eight query[kGroups];
#pragma unroll
  for (int g = 0; g < kGroups; g++) {
    if (g >= groups) continue;
    query[g] = turned(load(mine + ((index_t)head * groups + g) * kSize + part * 8), by, 1.0f);
#pragma unroll
    for (int k = 0; k < 8; k++) query[g].at[k] *= scale;
  }
  __syncthreads();

  // Sixteen lanes a key, two keys a warp, four of these at once.
  constexpr int kStep = 2 * kWarps, kAhead = 4;
  for (int at = 2 * warp + lane / 16; at - lane / 16 < count; at += kStep * kAhead) {
    Eight key[kAhead];
#pragma unroll
    for (int n = 0; n < kAhead; n++) {
      const int position = min(at + n * kStep, count - 1);
      key[n] = load(held + (index_t)position * 2 * nk + part * 8);
    }
#pragma unroll
    for (int n = 0; n < kAhead; n++) {
      const int position = at + n * kStep;
#pragma unroll
      for (int g = 0; g < kGroups; g++) {
        if (g >= groups) continue;
        float sum = 0.0f;
#pragma unroll
        for (int k = 0; k < 8; k++) sum += query[g].at[k] * key[n].at[k];
        sum = over_sixteen(sum);
        if (part == 0 && position < count) scores[position][g] = sum;
      }
    }
  }
  __syncthreads();

  // A warp a query head.
  if (warp < groups) {
    float top = __int_as_float(0xff800000);
    for (int i = lane; i < count; i += 32) top = fmaxf(top, scores[i][warp]);
#pragma unroll
    for (int half = 16; half > 0; half /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, half));
    float total = 0.0f;
    for (int i = lane; i < count; i += 32) {
      const float weight = __expf(scores[i][warp] - top);
      scores[i][warp] = weight;
      total += weight;
    }
#pragma unroll
    for (int half = 16; half > 0; half /= 2) total += __shfl_xor_sync(0xffffffffu, total, half);
    if (lane == 0) {
      tops[warp] = top;
      totals[warp] = total;
    }
  }
  __syncthreads();

  // A lane has four numbers of each value; a warp every eighth position.
  float mixed[kGroups][4] = {};
  constexpr int kValues = 8;
  for (int at = warp; at < count; at += kWarps * kValues) {
    uint2 value[kValues];
#pragma unroll
    for (int n = 0; n < kValues; n++) {
      const int position = min(at + n * kWarps, count - 1);
      value[n] = *reinterpret_cast<const uint2*>(held + (index_t)position * 2 * nk + nk + lane * 4);
    }
#pragma unroll
    for (int n = 0; n < kValues; n++) {
      const int position = at + n * kWarps;
      if (position >= count) continue;
      const float x[4] = {wide(value[n].x & 0xffffu), wide(value[n].x >> 16), wide(value[n].y & 0xffffu),
                          wide(value[n].y >> 16)};
#pragma unroll
      for (int g = 0; g < kGroups; g++) {
        if (g >= groups) continue;
        const float weight = scores[position][g];
#pragma unroll
        for (int k = 0; k < 4; k++) mixed[g][k] += weight * x[k];
      }
    }
  }
  __syncthreads();
#pragma unroll
  for (int g = 0; g < kGroups; g++)
#pragma unroll
    for (int k = 0; k < 4; k++) shared[(warp * kGroups + g) * kSize + lane * 4 + k] = mixed[g][k];
  __syncthreads();

  half_t* to = out + row * nq + (index_t)head * groups * kSize;
  const index_t stride = kSize + 2;
  float* own = partial + (((index_t)row * keys + head) * spans + span) * groups * stride;
  for (int i = t; i < groups * kSize; i += 256) {
    float sum = 0.0f;
#pragma unroll
    for (int w = 0; w < kWarps; w++) sum += shared[w * kGroups * kSize + i];
    const int g = i / kSize;
    if (active == 1) {
      to[i] = (half_t)narrow(sum / totals[g]);
      continue;
    }
    own[g * stride + i % kSize] = sum;
    if (i % kSize == 0) {
      own[g * stride + kSize] = tops[g];
      own[g * stride + kSize + 1] = totals[g];
    }
  }
  if (active == 1) return;

  __threadfence();
  __syncthreads();
  int* counter = ended + row * keys + head;
  if (t == 0) {
    is_last = atomicAdd(counter, 1) == active - 1;
    if (is_last) *counter = 0;
  }
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  const float* all = partial + ((index_t)row * keys + head) * spans * groups * stride;
  for (int i = t; i < groups * kSize; i += 256) {
    const int g = i / kSize, d = i % kSize;
    float top = __int_as_float(0xff800000);
    for (int n = 0; n < active; n++) top = fmaxf(top, __ldcg(all + (n * groups + g) * stride + kSize));
    float sum = 0.0f, total = 0.0f;
    for (int n = 0; n < active; n++) {
      const float* one = all + (n * groups + g) * stride;
      const float share = __expf(__ldcg(one + kSize) - top);
      sum += share * __ldcg(one + d);
      total += share * __ldcg(one + kSize + 1);
    }
    to[i] = (half_t)narrow(sum / total);
  }
}

// Draws a token for each request, a block each: row, uniform number, temperature (0: the likeliest), and
// two that are not read. Every thread has a stretch of ids; their sums, in order, say whose stretch the
// number falls into. Gives the token and its log-probability; -1 where the sums are not finite.
extern "C" __global__ void __launch_bounds__(1024)
draw(const half_t* logits, const double* requests, double* drawn, index_t vocab) {
  __shared__ double sums[1024];
  __shared__ float tops[1024];
  __shared__ int winner;
  const int t = threadIdx.x;
  const double* request = requests + 5 * blockIdx.x;
  const half_t* x = logits + (index_t)request[0] * vocab;
  const bool greedy = !(request[2] > 0.0);
  const float rate = greedy ? 1.0f : (float)(1.0 / request[2]);
  const index_t eights = (vocab / 8 + 1023) / 1024;
  const index_t begin = t * eights * 8;
  const index_t end = begin + eights * 8 < vocab ? begin + eights * 8 : vocab;

  float top = __int_as_float(0xff800000);
  for (index_t i = begin; i < end; i += 8) {
    const Eight a = load(x + i);
#pragma unroll
    for (int k = 0; k < 8; k++) top = fmaxf(top, a.at[k]);
  }
  tops[t] = top;
  if (t == 0) winner = 0x7fffffff;
  __syncthreads();
  for (int half = 512; half > 0; half /= 2) {
    if (t < half) tops[t] = fmaxf(tops[t], tops[t + half]);
    __syncthreads();
  }
  const float most = tops[0];

  double sum = 0.0;
  for (index_t i = begin; i < end; i += 8) {
    const Eight a = load(x + i);
    float part = 0.0f;
#pragma unroll
    for (int k = 0; k < 8; k++) part += expf((a.at[k] - most) * rate);
    sum += part;
  }
  sums[t] = sum;
  __syncthreads();
  for (int step = 1; step < 1024; step *= 2) {
    const double before = t >= step ? sums[t - step] : 0.0;
    __syncthreads();
    sums[t] += before;
    __syncthreads();
  }
  const double total = sums[1023], low = t == 0 ? 0.0 : sums[t - 1];
  double* out = drawn + 2 * blockIdx.x;
  if (!(total > 0.0) || total > 1e300) {
    if (t == 0) { out[0] = -1.0; out[1] = __longlong_as_double(0x7ff8000000000000LL); }
    return;
  }
  const double target = request[1] * total;
  if (greedy) {
    if (top == most) atomicMin(&winner, t);
  } else if (sum > 0.0 && low <= target && target < sums[t]) {
    atomicMin(&winner, t);
  }
  __syncthreads();
  if (winner == 0x7fffffff) {
    // Rounding put the number beyond them all: the last stretch with anything in it.
    __syncthreads();
    if (t == 0) {
      int last = 1023;
      while (last > 0 && !(sums[last] > sums[last - 1])) last--;
      winner = last;
    }
    __syncthreads();
  }
  if (t != winner) return;
  index_t token = -1;
  double so_far = low;
  for (index_t i = begin; i < end; i += 8) {
    const Eight a = load(x + i);
    for (int k = 0; k < 8; k++) {
      const float own = expf((a.at[k] - most) * rate);
      so_far += own;
      if (greedy ? a.at[k] == most : own > 0.0f) token = i + k;
      if (token == i + k && (greedy || so_far > target)) { i = end; break; }
    }
  }
  const float chosen = __uint_as_float((unsigned int)x[token] << 16);
  out[0] = (double)token;
  out[1] = (double)((chosen - most) * rate) - log(total);
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
    for (const char* name : {"swiglu", "swiglu_grad", "heads", "heads_grad", "cache_heads", "draw", "attend_rows"}) {
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

struct Grid {
  int64_t x, y, z;
};

// Runs a kernel on the current stream.
template <typename... Args>
void launch_blocks(const at::Tensor& on, const char* name, Grid grid, unsigned threads, Args... args) {
  if (grid.x * grid.y * grid.z == 0) return;
  const c10::DeviceGuard guard(on.device());
  TORCH_CHECK(grid.x <= INT32_MAX && grid.y <= 65535 && grid.z <= 65535, name, ": too many numbers");
  const auto [x, y, z] = std::array<unsigned, 3>{static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y),
                                                 static_cast<unsigned>(grid.z)};
  void* pointers[] = {&args...};
  void* stream = c10::cuda::getCurrentCUDAStream(on.get_device()).stream();
  void* kernel = Module::of(on.get_device()).find(name);
  require(Library::get().launch(kernel, x, y, z, threads, 1, 1, 0, stream, pointers, nullptr), name);
}

// The same with a thread for eight numbers of `count`.
template <typename... Args>
void launch(const at::Tensor& on, const char* name, int64_t count, Args... args) {
  constexpr int64_t threads = 256;
  launch_blocks(on, name, {(count / 8 + threads - 1) / threads, 1, 1}, threads, args...);
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

// Positions of a block of attend_rows.
constexpr int64_t kSpan = 512;

// What the new tokens of N sequences attend to, [N, H D]; see the kernel. `longest` bounds the lengths.
at::Tensor attend_rows(const at::Tensor& qkv_any, const at::Tensor& factors, const at::Tensor& turns,
                       const at::Tensor& starts, const at::Tensor& lengths, const at::Tensor& cache,
                       const at::Tensor& ended, int64_t longest, int64_t queries, int64_t keys) {
  const at::Tensor qkv = dense(qkv_any, "qkv");
  const Sizes s = sizes_of(qkv, factors, queries, keys);
  TORCH_CHECK(s.size == 128 && queries % keys == 0 && queries / keys <= 8,
              "heads must be of 128 numbers, at most eight queries a key");
  TORCH_CHECK(turns.is_cuda() && turns.scalar_type() == at::kLong && turns.is_contiguous() &&
                  turns.numel() == s.rows,
              "turns must be int64 [N]");
  for (const at::Tensor& numbers : {starts, lengths, ended}) {
    TORCH_CHECK(numbers.is_cuda() && numbers.scalar_type() == at::kInt && numbers.is_contiguous(),
                "starts, lengths and counters must be int32");
  }
  TORCH_CHECK(starts.numel() >= s.rows && lengths.numel() == s.rows && ended.numel() >= s.rows * keys,
              "starts and lengths must be [N], counters [N KV]");
  TORCH_CHECK(cache.is_contiguous() && cache.scalar_type() == at::kBFloat16 && cache.dim() == 2 &&
                  cache.size(1) == 2 * s.nk && reinterpret_cast<uintptr_t>(cache.data_ptr()) % 16 == 0,
              "the cache must be bfloat16 [any, ", 2 * s.nk, "], without gaps");
  const int64_t spans = (longest + kSpan - 1) / kSpan;
  const int64_t room = spans == 1 ? 0 : s.rows * queries * spans * (s.size + 2);
  at::Tensor out = at::empty({s.rows, s.nq}, qkv.options());
  at::Tensor partial = at::empty({room}, qkv.options().dtype(at::kFloat));
  const int groups = static_cast<int>(queries / keys), count = static_cast<int>(keys);
  const float scale = 1.0f / std::sqrt(static_cast<float>(s.size));
  launch_blocks(qkv, "attend_rows", {spans, keys, s.rows}, 256, data(qkv), data(factors), data(turns),
                data(starts), data(lengths), data(cache), data(out), data(partial), data(ended), groups, count,
                scale);
  return out;
}

// float64 [D, 2] for requests [D, 5] of rows of logits [R, V], as `draw_tokens` on a CPU without top-p
// and top-k.
at::Tensor draw_cuda(const at::Tensor& logits_any, const at::Tensor& requests) {
  const at::Tensor logits = dense(logits_any, "logits");
  TORCH_CHECK(logits.dim() == 2 && logits.size(1) % 8 == 0 && logits.size(1) > 0,
              "logits must be [R, V] with V in eights");
  TORCH_CHECK(requests.is_cuda() && requests.scalar_type() == at::kDouble && requests.is_contiguous() &&
                  requests.dim() == 2 && requests.size(1) == 5,
              "requests must be float64 [D, 5]");
  at::Tensor drawn = at::empty({requests.size(0), 2}, requests.options());
  launch_blocks(logits, "draw", {requests.size(0), 1, 1}, 1024, data(logits), data(requests), data(drawn),
                logits.size(1));
  return drawn;
}

TORCH_LIBRARY_IMPL(vigorl, CUDA, library) {
  library.impl("draw_tokens", draw_cuda);
  library.impl("swiglu", swiglu_cuda);
  library.impl("cache_heads", cache_heads);
  library.impl("attend_rows", attend_rows);
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
  library.impl("attend_rows", torch::CppFunction::makeFromBoxedFunction<&refuse_gradients>());
  library.impl("draw_tokens", torch::CppFunction::makeFromBoxedFunction<&refuse_gradients>());
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
  library.def(
      "attend_rows(Tensor qkv, Tensor factors, Tensor turns, Tensor starts, Tensor lengths, Tensor(a!) cache, "
      "Tensor(b!) ended, int longest, int queries, int keys) -> Tensor");
}

}  // namespace

}  // namespace vigorl
