# shellcheck shell=bash
# Keys, certificates and kubeconfigs, made anew at every start: addresses may have changed, and 0.3 s
# is cheaper than a rule for when an old one still fits.

new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

# authority NAME COMMON_NAME
authority() {
  new_key "$PKI/$1.key"
  openssl req -x509 -new -key "$PKI/$1.key" -days 3650 -subj "/CN=$2" -out "$PKI/$1.crt"
}

# certificate AUTHORITY FILE SUBJECT USAGE [ALTERNATIVE_NAMES] : writes FILE.key and FILE.crt
certificate() {
  local authority=$PKI/$1 file=$2 subject=$3 usage=$4 names=${5:-}
  new_key "$file.key"
  {
    echo "extendedKeyUsage=$usage"
    echo "keyUsage=digitalSignature,keyEncipherment"
    [ -z "$names" ] || echo "subjectAltName=$names"
  } >"$file.ext"
  openssl req -new -key "$file.key" -subj "$subject" -out "$file.csr"
  openssl x509 -req -in "$file.csr" -CA "$authority.crt" -CAkey "$authority.key" \
    -set_serial "0x$(openssl rand -hex 8)" -days 3650 -extfile "$file.ext" -out "$file.crt" \
    2>/dev/null
  rm "$file.csr" "$file.ext"
}

# kubeconfig OUT CERTIFICATE_FILE : carries its certificates inside, so that it can be copied.
kubeconfig() {
  cat >"$1" <<YAML
apiVersion: v1
kind: Config
clusters:
- name: $CLUSTER_ID
  cluster:
    server: https://$API_IP:$API_PORT
    certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")
users:
- name: user
  user:
    client-certificate-data: $(base64 -w0 "$2.crt")
    client-key-data: $(base64 -w0 "$2.key")
contexts:
- name: $CLUSTER_ID
  context: {cluster: $CLUSTER_ID, user: user}
current-context: $CLUSTER_ID
YAML
}

control_plane_pki() {
  rm -rf "$PKI"
  (
    umask 077
    mkdir -p "$PKI"
    authority ca kubernetes-ca
    authority front-proxy-ca front-proxy-ca

    local names=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc
    names+=,DNS:kubernetes.default.svc.cluster.local,DNS:localhost
    names+=,IP:127.0.0.1,IP:$SERVICE_API_IP,IP:$API_IP
    certificate ca "$PKI/apiserver" /CN=kube-apiserver serverAuth "$names"
    certificate ca "$PKI/etcd" /CN=etcd serverAuth,clientAuth DNS:localhost,IP:127.0.0.1
    certificate ca "$PKI/etcd-client" /CN=apiserver-etcd-client clientAuth
    certificate ca "$PKI/kubelet-client" /O=system:masters/CN=apiserver-kubelet-client clientAuth
    certificate front-proxy-ca "$PKI/front-proxy" /CN=front-proxy-client clientAuth
    certificate ca "$PKI/admin" /O=system:masters/CN=admin clientAuth
    certificate ca "$PKI/controller-manager" /CN=system:kube-controller-manager clientAuth
    certificate ca "$PKI/scheduler" /CN=system:kube-scheduler clientAuth

    new_key "$PKI/service-account.key"
    openssl ec -in "$PKI/service-account.key" -pubout -out "$PKI/service-account.pub" 2>/dev/null

    kubeconfig "$ADMIN_KUBECONFIG" "$PKI/admin"
    kubeconfig "$PKI/controller-manager.kubeconfig" "$PKI/controller-manager"
    kubeconfig "$PKI/scheduler.kubeconfig" "$PKI/scheduler"
  )
}
