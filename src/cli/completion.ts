/** `vigorl completion`: verbs, flags and keys of recipes for the shell, out of the verbs themselves. */
import { Command, type Option } from "commander";
import { oneOf, type Verb } from "./frame.ts";

const shells = ["bash", "zsh", "fish"] as const;

/** @param others all verbs but this one */
export function completionVerb(others: readonly Verb[]): Verb {
  const command: Command = new Command("completion")
    .description("print a completion script for the shell")
    .argument("<shell>", shells.join(", "))
    .addHelpText(
      "after",
      `
  bash   eval "$(vigorl completion bash)"     in ~/.bashrc
  zsh    eval "$(vigorl completion zsh)"      in ~/.zshrc
  fish   vigorl completion fish > ~/.config/fish/completions/vigorl.fish`,
    );
  return {
    command,
    run: async (_context, [shell]) => {
      const chosen = oneOf("shell", shell, shells);
      const words = await wordsOf(others);
      const text = chosen === "fish" ? fishScript(words) : bashScript(words);
      const head = chosen === "zsh" ? "autoload -U +X bashcompinit && bashcompinit\n" : "";
      return { json: { script: head + text }, text: head + text };
    },
  };
}

interface VerbWords {
  readonly name: string;
  readonly about: string;
  readonly flags: readonly { readonly name: string; readonly about: string }[];
}

async function wordsOf(verbs: readonly Verb[]): Promise<VerbWords[]> {
  const { recipeKeys } = await import("../recipe-schema.ts");
  return verbs.map(({ command: verb, keys }) => ({
    name: verb.name(),
    about: verb.description(),
    flags: [
      ...verb.options.map((option: Option) => ({
        name: option.long ?? option.short ?? "",
        about: option.description,
      })),
      ...(keys === undefined ? [] : recipeKeys(keys === "all" ? undefined : keys)).map(
        ({ path, about }) => ({ name: `--${path}=`, about }),
      ),
    ],
  }));
}

function bashScript(verbs: readonly VerbWords[]): string {
  const cases = verbs.map(
    ({ name, flags }) => `    ${name}) words="${flags.map((flag) => flag.name).join(" ")}" ;;`,
  );
  return `_vigorl() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" words=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${verbs.map(({ name }) => name).join(" ")}" -- "$cur"))
    return
  fi
  case "$cur" in
    -*) ;;
    *) COMPREPLY=($(compgen -f -- "$cur")); return ;;
  esac
  case "\${COMP_WORDS[1]}" in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  case "\${COMPREPLY[0]}" in *=) compopt -o nospace 2>/dev/null ;; esac
}
complete -F _vigorl vigorl ./vigorl`;
}

function fishScript(verbs: readonly VerbWords[]): string {
  const quoted = (text: string) => `'${text.replaceAll(/[\\']/g, String.raw`\$&`)}'`;
  return verbs
    .flatMap(({ name, about, flags }) => [
      `complete -c vigorl -n __fish_use_subcommand -a ${name} -d ${quoted(about)}`,
      ...flags.map(
        (flag) =>
          `complete -c vigorl -n '__fish_seen_subcommand_from ${name}' -a ${quoted(flag.name)} -d ${quoted(flag.about)}`,
      ),
    ])
    .join("\n");
}
