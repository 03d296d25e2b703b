// The fingerprint of CVE-2017-15361 (ROCA): RSA moduli made by a broken chip library are powers of 65537 modulo every
// small prime. Such a key can be factored from its public half, so anybody could sign with it.

const GENERATOR = 65_537;
const PRIMES = [
  3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113,
  127, 131, 137, 139, 149, 151, 157, 163, 167,
];

function powersOfGenerator(prime: number): ReadonlySet<number> {
  const powers = new Set<number>();
  for (let power = 1; !powers.has(power); power = (power * GENERATOR) % prime) powers.add(power);
  return powers;
}

const fingerprints = PRIMES.map((prime) => ({ prime: BigInt(prime), powers: powersOfGenerator(prime) }));

/** True when the modulus bears the fingerprint; a sound modulus does by chance about once in 2^27. */
export function hasRocaFingerprint(modulus: bigint): boolean {
  return fingerprints.every(({ prime, powers }) => powers.has(Number(modulus % prime)));
}
