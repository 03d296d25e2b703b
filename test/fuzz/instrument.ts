// Coverage for the fuzzer: every file of src is compiled with a counter at each place where its control flow can go two ways.
// Counters are bytes of one array, read after every input; node's own precise coverage costs a hundred times as much per input.
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const MAX_EDGES = 1 << 16;
const counters = new Uint8Array(MAX_EDGES);
let edges = 0;
(globalThis as Record<string, unknown>).__edges = counters;

/** One byte per edge: how often the last input took it, modulo 256. */
export const hits: Uint8Array = counters;

/** Edges that exist in the files loaded so far. */
export const edgeCount = (): number => edges;

const { factory } = ts;

function bump(): ts.Expression {
  const place = factory.createNumericLiteral(edges % MAX_EDGES);
  edges += 1;
  return factory.createPostfixIncrement(
    factory.createElementAccessExpression(factory.createIdentifier('__edges'), place),
  );
}

const counted = (expression: ts.Expression) =>
  factory.createParenthesizedExpression(factory.createComma(bump(), factory.createParenthesizedExpression(expression)));

const asBlock = (statement: ts.Statement) =>
  ts.isBlock(statement)
    ? factory.updateBlock(statement, [factory.createExpressionStatement(bump()), ...statement.statements])
    : factory.createBlock([factory.createExpressionStatement(bump()), statement]);

const SHORT_CIRCUITS = new Set([
  ts.SyntaxKind.AmpersandAmpersandToken,
  ts.SyntaxKind.BarBarToken,
  ts.SyntaxKind.QuestionQuestionToken,
]);

/** Puts a counter at a node that has been visited. */
function instrument(node: ts.Node): ts.Node {
  if (ts.isIfStatement(node)) {
    const otherwise = asBlock(node.elseStatement ?? factory.createBlock([]));
    return factory.updateIfStatement(node, node.expression, asBlock(node.thenStatement), otherwise);
  }
  if (ts.isForStatement(node))
    return factory.updateForStatement(
      node,
      node.initializer,
      node.condition,
      node.incrementor,
      asBlock(node.statement),
    );
  if (ts.isWhileStatement(node)) return factory.updateWhileStatement(node, node.expression, asBlock(node.statement));
  if (ts.isForOfStatement(node))
    return factory.updateForOfStatement(
      node,
      node.awaitModifier,
      node.initializer,
      node.expression,
      asBlock(node.statement),
    );
  if (ts.isConditionalExpression(node)) {
    const { condition, questionToken, whenTrue, colonToken, whenFalse } = node;
    return factory.updateConditionalExpression(
      node,
      condition,
      questionToken,
      counted(whenTrue),
      colonToken,
      counted(whenFalse),
    );
  }
  if (ts.isBinaryExpression(node) && SHORT_CIRCUITS.has(node.operatorToken.kind))
    return factory.updateBinaryExpression(node, node.left, node.operatorToken, counted(node.right));
  if (ts.isArrowFunction(node) && !ts.isBlock(node.body)) {
    const { modifiers, typeParameters, parameters, type, equalsGreaterThanToken, body } = node;
    return factory.updateArrowFunction(
      node,
      modifiers,
      typeParameters,
      parameters,
      type,
      equalsGreaterThanToken,
      counted(body),
    );
  }
  if (ts.isCatchClause(node))
    return factory.updateCatchClause(node, node.variableDeclaration, asBlock(node.block) as ts.Block);
  return node;
}

const transformer: ts.TransformerFactory<ts.SourceFile> = (context) => (file) => {
  const visit = (node: ts.Node): ts.Node => instrument(ts.visitEachChild(node, visit, context));
  return ts.visitNode(file, visit) as ts.SourceFile;
};

const COMPILER: ts.CompilerOptions = {
  target: ts.ScriptTarget.ESNext,
  module: ts.ModuleKind.ESNext,
  verbatimModuleSyntax: true,
};

/** From now on files of src whose path matches `files` are loaded with counters. */
export function instrumentSources(files: RegExp): void {
  registerHooks({
    load(url, context, nextLoad) {
      if (!/\/src\/.*\.ts$/.test(url) || !files.test(url)) return nextLoad(url, context);
      const text = readFileSync(fileURLToPath(url), 'utf8');
      const { outputText } = ts.transpileModule(text, {
        compilerOptions: COMPILER,
        transformers: { before: [transformer] },
      });
      return { format: 'module', source: outputText, shortCircuit: true };
    },
  });
}
