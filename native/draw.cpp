// From logits to tokens and their log-probabilities on a CPU, in one pass over each row. Log-probabilities
// are those of the temperature asked for (of 1 where it is 0), over the whole row. The rule: top-k keeps
// the k likeliest (ties: the lower id), top-p keeps of those the shortest likeliest-first run whose share
// reaches p, and the draw walks what is left by token id. A row that is not finite gives the token -1.
#include "kernels.h"

#include <cmath>
#include <numeric>
#include <vector>

namespace vigorl {

namespace {

// Columns of `requests`: row of the logits, uniform number in [0, 1), temperature (0: the likeliest
// token), share and number of tokens to keep (0: all).
enum Column { kRow, kUniform, kTemperature, kTopP, kTopK, kNumColumns };

// How many weights are summed in float32 before they are summed in float64.
constexpr int64_t kChunk = 4 * kLanes;

VIGORL_KERNEL float highest(const float* x, int64_t count) {
  Floats top = Floats{} - __builtin_inff(), a;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    load(a, x + i);
    top = a > top ? a : top;
  }
  float result = maximum(top);
  for (; i < count; i++) result = std::max(result, x[i]);
  return result;
}

// weights = exp((logits - top) / temperature), with the sum of every chunk.
VIGORL_KERNEL void weigh(const float* logits, float* weights, double* sums, int64_t count, float top,
                         float temperature) {
  const float rate = 1.0f / temperature;
  for (int64_t chunk = 0; chunk < count; chunk += kChunk) {
    Floats total{}, x;
    const int64_t end = std::min(count, chunk + kChunk);
    for (int64_t i = chunk, n = end - chunk; i < end; i += kLanes, n -= kLanes) {
      load(x, logits + i, n);
      x = (x - top) * rate;
      exponential(x);
      for (int64_t lane = n; lane < kLanes; lane++) x[lane] = 0;
      total += x;
      store(weights + i, x, n);
    }
    sums[chunk / kChunk] = sum(total);
  }
}

// Scratch space of one thread.
struct Row {
  std::vector<float> weights;
  std::vector<double> sums;
  std::vector<int64_t> ids;

  double weigh_all(const float* logits, int64_t count, float top, float temperature) {
    weights.resize(static_cast<size_t>(count));
    sums.resize(static_cast<size_t>((count + kChunk - 1) / kChunk));
    weigh(logits, weights.data(), sums.data(), count, top, temperature);
    return std::accumulate(sums.begin(), sums.end(), 0.0);
  }

  // The first id whose cumulative weight exceeds `target`, else the last of any weight.
  int64_t walk(double target) const {
    double before = 0;
    size_t chunk = 0;
    while (chunk + 1 < sums.size() && before + sums[chunk] <= target) before += sums[chunk++];
    int64_t last = -1;
    const auto count = static_cast<int64_t>(weights.size());
    for (int64_t id = static_cast<int64_t>(chunk) * kChunk; id < count; id++) {
      if (weights[id] == 0) continue;
      before += weights[id];
      last = id;
      if (before > target) break;
    }
    if (last >= 0) return last;
    for (last = count - 1; last > 0 && weights[last] == 0;) last--;
    return last;
  }

  int64_t walk_kept(double total, double uniform, double top_p, int64_t top_k) {
    const auto count = static_cast<int64_t>(weights.size());
    // Tokens below this share hold together less than 1 - p, so none of them is in the run of top-p.
    const double floor = top_k < count ? 0 : (1 - top_p) * total / static_cast<double>(count);
    ids.clear();
    for (int64_t id = 0; id < count; id++) {
      if (weights[id] > 0 && weights[id] >= floor) ids.push_back(id);
    }
    const auto limit = ids.begin() + std::min<int64_t>(top_k, static_cast<int64_t>(ids.size()));
    std::partial_sort(ids.begin(), limit, ids.end(), [&](int64_t a, int64_t b) {
      return weights[a] > weights[b] || (weights[a] == weights[b] && a < b);
    });
    double mass = total, kept = 0;
    if (top_k < count) {
      mass = 0;
      for (auto id = ids.begin(); id != limit; ++id) mass += weights[*id];
    }
    auto end = ids.begin();
    while (end != limit && (top_p >= 1 || kept < top_p * mass)) kept += weights[*end++];
    std::sort(ids.begin(), end);
    double before = 0;
    for (auto id = ids.begin(); id != end; ++id) {
      before += weights[*id];
      if (before > uniform * kept) return *id;
    }
    return *(end - 1);
  }

  // Token and log-probability to `to`.
  void draw(const float* logits, int64_t count, const double* request, double* to) {
    const float top = highest(logits, count);
    const double asked_temperature = request[kTemperature], top_p = request[kTopP];
    const double asked = request[kTopK];
    const int64_t top_k =
        asked >= 1 && asked < static_cast<double>(count) ? static_cast<int64_t>(asked) : count;
    const float temperature = asked_temperature == 0 ? 1.0f : static_cast<float>(asked_temperature);
    const double total = weigh_all(logits, count, top, temperature);
    if (!std::isfinite(total)) {
      to[0] = -1;
      to[1] = std::nan("");
      return;
    }
    int64_t token;
    if (asked_temperature == 0) {
      token = std::find(logits, logits + count, top) - logits;
    } else {
      token = top_p >= 1 && top_k == count ? walk(request[kUniform] * total)
                                           : walk_kept(total, request[kUniform], top_p, top_k);
    }
    const double rate = 1.0f / temperature;
    to[0] = static_cast<double>(token);
    to[1] = (static_cast<double>(logits[token]) - top) * rate - std::log(total);
  }
};

at::Tensor draw_tokens(const at::Tensor& logits_any, const at::Tensor& requests) {
  const at::Tensor logits = checked(logits_any, "the logits");
  TORCH_CHECK(logits.dim() == 2 && logits.size(1) > 0, "the logits must be [R, V]");
  TORCH_CHECK(requests.device().is_cpu() && requests.scalar_type() == at::kDouble &&
                  requests.is_contiguous() && requests.dim() == 2 && requests.size(1) == kNumColumns,
              "the requests must be float64 [D, ", static_cast<int>(kNumColumns), "]");
  const int64_t num_rows = logits.size(0), count = logits.size(1), num_draws = requests.size(0);
  const double* asked = requests.data_ptr<double>();
  for (int64_t n = 0; n < num_draws; n++) {
    const double* request = asked + n * kNumColumns;
    TORCH_CHECK(request[kRow] >= 0 && request[kRow] < static_cast<double>(num_rows) &&
                    request[kTemperature] >= 0 && request[kTopP] > 0,
                "request ", n, " does not fit the logits");
  }
  at::Tensor drawn = at::empty({num_draws, 2}, requests.options());
  const float* from = logits.data_ptr<float>();
  double* to = drawn.data_ptr<double>();
  at::parallel_for(0, num_draws, rows_per_thread(count), [&](int64_t begin, int64_t end) {
    Row row;
    for (int64_t n = begin; n < end; n++) {
      const double* request = asked + n * kNumColumns;
      row.draw(from + static_cast<int64_t>(request[kRow]) * count, count, request, to + 2 * n);
    }
  });
  return drawn;
}

TORCH_LIBRARY_FRAGMENT(vigorl, library) {
  library.def("draw_tokens(Tensor logits, Tensor requests) -> Tensor");
}

TORCH_LIBRARY_IMPL(vigorl, CPU, library) { library.impl("draw_tokens", draw_tokens); }

TORCH_LIBRARY_IMPL(vigorl, AutogradCPU, library) {
  library.impl("draw_tokens", torch::CppFunction::makeFromBoxedFunction<&refuse_gradients>());
}

}  // namespace

}  // namespace vigorl
