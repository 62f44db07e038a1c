/**
 * The operators that `generate-ops.ts` writes methods and functions for, by the room they serve. An
 * entry is `name`, `name.overload|overload` (the first whose argument types fit is called) or
 * `tsName=name.overload`; `+` makes a free function besides the method, `!` defaults to float32 where
 * libtorch would guess a dtype from a number. Everything else of libtorch stays reachable through `native.call`.
 */
export interface OpSpec {
  name: string;
  aten: string;
  overloads: string[];
  /** The dtype where the caller names none and libtorch would guess from a number. */
  dtype?: string;
  /** Also a free function, though its first argument is `self`. */
  free: boolean;
}

const arithmetic = `
  add.Tensor|Scalar add_.Tensor|Scalar sub.Tensor|Scalar sub_.Tensor|Scalar
  mul.Tensor|Scalar mul_.Tensor|Scalar div.Tensor_mode|Scalar_mode div_.Tensor_mode|Scalar_mode
  rsub.Tensor|Scalar remainder.Tensor|Scalar fmod.Tensor|Scalar
  floor_divide|Scalar pow.Tensor_Tensor|Tensor_Scalar pow_.Tensor|Scalar
  addcmul addcmul_ addcdiv addcdiv_ lerp.Tensor|Scalar lerp_.Tensor|Scalar
  neg neg_ abs abs_ sign reciprocal reciprocal_ square sqrt sqrt_ rsqrt rsqrt_
  exp exp_ exp2 expm1 log log_ log2 log1p sin cos tan tanh tanh_ atan2 asin acos atan sinh cosh erf
  sigmoid sigmoid_ logsigmoid=log_sigmoid softplus round round_ round_decimals=round.decimals floor floor_ ceil ceil_ trunc frac
  clamp.Tensor|. clamp_.Tensor|. clamp_min.Tensor|. clamp_min_.Tensor|. clamp_max.Tensor|. clamp_max_.Tensor|.
  maximum minimum nan_to_num nan_to_num_ logaddexp hypot
  bitwise_and.Tensor|Scalar bitwise_or.Tensor|Scalar bitwise_xor.Tensor|Scalar bitwise_not
  logical_and logical_or logical_xor logical_not logical_not_
`;
const comparisons = `
  eq.Tensor|Scalar ne.Tensor|Scalar lt.Tensor|Scalar le.Tensor|Scalar gt.Tensor|Scalar ge.Tensor|Scalar
  isnan isinf isfinite equal allclose isclose isin.Tensor_Tensor
`;
const matrices = `
  matmul mm bmm mv dot outer addmm addmm_ baddbmm baddbmm_ linear einsum
  addmm_out=addmm.out mm_out=mm.out bmm_out=bmm.out baddbmm_out=baddbmm.out
  linalg_vector_norm linalg_matrix_norm linalg_inv linalg_qr linalg_svd linalg_solve linalg_solve_triangular cross=linalg_cross
`;
const shapes = `
  view reshape transpose.int t permute movedim.int expand expand_as unsqueeze
  squeeze squeeze_dim=squeeze.dim flatten.using_ints unflatten.int narrow slice.Tensor select.int
  chunk split.Tensor split_with_sizes unbind.int unfold cat stack contiguous clone detach detach_
  view_as reshape_as broadcast_to tile repeat repeat_interleave.self_int repeat_interleave_tensor=repeat_interleave.self_Tensor
  flip roll tril triu tril_ triu_ diag diagonal diag_embed pad meshgrid.indexing broadcast_tensors
  constant_pad_nd swapaxes as_strided alias
  view_as_complex view_as_real
`;
const indexing = `
  index.Tensor index_put index_put_ index_select index_copy index_copy_ index_add index_add_
  index_fill.int_Tensor|int_Scalar index_fill_.int_Tensor|int_Scalar
  gather scatter.src|value scatter_.src|value scatter_add scatter_add_ scatter_reduce.two scatter_reduce_.two
  take_along_dim masked_fill.Tensor|Scalar masked_fill_.Tensor|Scalar masked_select masked_scatter masked_scatter_
  nonzero argwhere where.self|ScalarOther|ScalarSelf|Scalar bincount searchsorted.Tensor bucketize.Tensor one_hot
  unique=_unique2 take
`;
const reductions = `
  sum.dim_IntList mean.dim prod prod_dim=prod.dim_int max max_dim=max.dim min min_dim=min.dim amax amin aminmax argmax argmin
  any any_dim=any.dim all all_dim=all.dim std.correction var.correction var_mean.correction median median_dim=median.dim quantile.scalar
  cumsum cumprod logcumsumexp norm.ScalarOpt_dim logsumexp softmax.int log_softmax.int
  log_softmax_backward=_log_softmax_backward_data
  topk sort argsort kthvalue histc count_nonzero cummax diff
`;
const activations = `
  +relu relu_ +silu silu_ +gelu gelu_ leaky_relu elu hardtanh threshold glu mish
`;
const layers = `
  embedding layer_norm rms_norm group_norm batch_norm native_layer_norm dropout dropout_ conv1d conv2d conv3d
  conv_transpose2d.input max_pool2d avg_pool2d adaptive_avg_pool2d
  upsample_bilinear2d upsample_bicubic2d=upsample_bicubic2d upsample_nearest2d grid_sampler
  scaled_dot_product_attention
  cross_entropy_loss nll_loss binary_cross_entropy_with_logits kl_div mse_loss l1_loss smooth_l1_loss huber_loss cosine_similarity
`;
const factories = `
  zeros ones empty.memory_format full! eye linspace arange arange_start=arange.start_step
  zeros_like ones_like empty_like full_like rand_like randn_like randn rand randint randint_low=randint.low randperm scalar_tensor!
  new_zeros new_ones new_full
`;
const inPlace = `
  copy_ zero_ fill_.Tensor|Scalar normal_ uniform_ bernoulli_.float random_.from exponential_
`;
const random = `multinomial bernoulli bernoulli_p=bernoulli.p normal=normal.float_float`;
const foreach = `
  _foreach_add.List _foreach_add_.List foreach_add_scalar_=_foreach_add_.Scalar _foreach_sub_.List
  _foreach_mul.List _foreach_mul_.List foreach_mul_scalar=_foreach_mul.Scalar foreach_mul_scalar_=_foreach_mul_.Scalar
  foreach_mul_tensor_=_foreach_mul_.Tensor
  _foreach_div.List _foreach_div_.List foreach_div_scalar_=_foreach_div_.Scalar foreach_div_scalars_=_foreach_div_.ScalarList
  _foreach_sqrt _foreach_sqrt_ _foreach_neg_ _foreach_norm.Scalar _foreach_zero_ _foreach_copy_
  foreach_lerp_scalar_=_foreach_lerp_.Scalar
  foreach_addcmul_=_foreach_addcmul_.Scalar foreach_addcdiv_=_foreach_addcdiv_.Scalar foreach_addcdiv_scalars_=_foreach_addcdiv_.ScalarList
  foreach_add_scalar=_foreach_add.Scalar foreach_abs=_foreach_abs foreach_maximum_=_foreach_maximum_.List
  _fused_adamw_
`;

const fixed = [
  arithmetic,
  comparisons,
  matrices,
  shapes,
  indexing,
  reductions,
  activations,
  layers,
  factories,
  inPlace,
  random,
  foreach,
];

export const opList: OpSpec[] = fixed.flatMap((group) => group.trim().split(/\s+/).map(parse));

function parse(entry: string): OpSpec {
  const full = entry.endsWith("!");
  const free = entry.startsWith("+");
  const [left, right] = entry.replace(/^\+|!$/g, "").split("=");
  const target = right ?? left!;
  const dot = target.indexOf(".");
  const aten = (dot < 0 ? target : target.slice(0, dot)).split("|")[0]!;
  const rest = dot < 0 ? target.split("|").slice(1) : target.slice(dot + 1).split("|");
  const overloads = (dot < 0 ? ["", ...rest] : rest).map((o) => (o === "." ? "" : o));
  const spec = { name: camel(right === undefined ? aten : left!), aten, overloads, free };
  return full ? { ...spec, dtype: "float32" } : spec;
}

/** `_foreach_add_` → `foreachAdd_`, `linalg_qr` → `linalgQr`; a trailing underscore stays. */
function camel(name: string): string {
  const tail = name.endsWith("_") ? "_" : "";
  const words = name.replace(/^_+|_+$/g, "").split("_");
  return words.map((w, i) => (i === 0 ? w : w[0]!.toUpperCase() + w.slice(1))).join("") + tail;
}
