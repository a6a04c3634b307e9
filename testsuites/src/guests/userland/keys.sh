# RSA, EC, Edwards and Montgomery keys, under each set of features that is a word of the command.
hex() { basenc -d --base16; }
scalar=0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20
echo 302E020100300506032B657004220420$scalar | hex > ed25519.der
echo 302E020100300506032B656E04220420$scalar | hex > x25519.der
echo 30310201010420${scalar}A00A06082A8648CE3D030107 | hex > p256.der
python3.11 -I -S -B /checks/rsa.py > rsa.der
printf 'the message' > message
for cap in "$@"; do
  [ $cap = all ] && unset OPENSSL_ia32cap || export OPENSSL_ia32cap=$cap
  for k in ed25519 x25519 p256 rsa; do echo $cap $k $(openssl pkey -inform DER -in $k.der -pubout -outform DER | sha256sum); done
  openssl pkey -inform DER -in x25519.der -pubout -out x.pub
  echo $cap x25519 $(openssl pkeyutl -derive -inkey x25519.der -keyform DER -peerkey x.pub | sha256sum)
  openssl pkey -inform DER -in p256.der -pubout -out p.pub
  echo $cap ecdh $(openssl pkeyutl -derive -inkey p256.der -keyform DER -peerkey p.pub | sha256sum)
  echo $cap ed25519 $(openssl pkeyutl -sign -rawin -inkey ed25519.der -keyform DER -in message | sha256sum)
  echo $cap rsa $(openssl dgst -sha256 -keyform DER -sign rsa.der message | tee rsa.sig | sha256sum)
  openssl pkey -inform DER -in rsa.der -pubout -out r.pub
  echo $cap rsa $(openssl dgst -sha256 -verify r.pub -signature rsa.sig message)
  openssl dgst -sha512 -keyform DER -sign p256.der message > ec.sig
  echo $cap ecdsa $(openssl dgst -sha512 -verify p.pub -signature ec.sig message)
done
